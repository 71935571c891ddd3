"""What the API answers about why something was told or not, and about ids cut short."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

IdKind = Literal["incident", "anomaly", "silence", "command"]
WhyKind = Literal["incident", "anomaly", "event", "silence", "command"]


def _example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class WhyEntry(BaseModel):
    """One thing that decided whether people were told: when, what, by what, until when, and what to do.

    what is an event of an incident's timeline, a kind of suppression, a command's action, or arrived,
    found, evidence, merged, mutes, nothing. Several alike are one: count of them, from at to last_at.
    """

    at: datetime | None
    last_at: datetime | None = None
    count: Annotated[int, Field(ge=1)] = 1
    what: str
    by: str | None = None
    until: datetime | None = None
    text: str = Field(description="a plain sentence")
    action: str | None = Field(None, description="what to do about it: a command, or where to look")


class Why(BaseModel):
    """Why people did, or did not, hear about something: the answer, and all that led to it in order of time."""

    model_config = _example(
        id="6e1d2f0a-0000-8000-8000-000000000001",
        kind="incident",
        ship_id="aurora",
        told=False,
        answer="You were not told: Application degradation on srv-app-1 is held back as a symptom.",
        action="watchkeeper why 5b0c9e77-0000-8000-8000-000000000001",
        entries=[
            {
                "at": "2026-03-01T00:00:05Z",
                "last_at": None,
                "count": 1,
                "what": "inhibited",
                "by": "5b0c9e77-0000-8000-8000-000000000001",
                "until": None,
                "text": "Held back as a symptom: explained by Link degradation on vsat-1: srv-app-1 depends on vsat-1",
                "action": "watchkeeper why 5b0c9e77-0000-8000-8000-000000000001",
            }
        ],
        left_out=0,
    )

    id: str
    kind: WhyKind
    ship_id: str
    told: bool
    answer: str
    action: str | None
    entries: list[WhyEntry]
    left_out: Annotated[int, Field(ge=0, description="causes beyond the newest 100")]


class KnownId(BaseModel):
    """One incident, anomaly, silence or other command.

    status: of the incident; state of the anomaly; outcome of the command; empty for a silence. title: what the incident
    or anomaly says; the reason for a silence or a command's outcome.
    """

    kind: IdKind
    id: str
    ship_id: str
    status: str
    title: str


class KnownIds(BaseModel):
    """Ids that begin as asked, the newest first; more says that there are others."""

    model_config = _example(
        items=[
            {
                "kind": "incident",
                "id": "6e1d2f0a-0000-8000-8000-000000000001",
                "ship_id": "aurora",
                "status": "open",
                "title": "Link degradation on vsat-1",
            }
        ],
        more=False,
    )

    items: list[KnownId]
    more: bool
