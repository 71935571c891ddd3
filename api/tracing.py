"""The way of one event: which stages it reached, when, and why not the others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api import evidence
from api.context import ApiContext, Reader, Row
from api.evidence import Json
from api.models import Missing, Stage, StageName
from api.queries import evidence as query
from api.queries import incidents as incident_query

STAGES: Final[tuple[StageName, ...]] = ("ingested", "detected", "enriched", "correlated", "narrated")
DETECTION: Final[tuple[StageName, ...]] = ("detected", "enriched")
NEEDED: Final = frozenset(STAGES) - {"narrated"}
"""An event is completely traced when these are there."""


@dataclass(frozen=True)
class Found:
    """All that the archive has on one event, in the order of publication.

    The first line or sample is the event; others were sent later with its tracking_id, at most 10 are kept.
    """

    tracking_id: str
    logs: list[Json]
    samples: list[Json]
    anomalies: list[Row]
    incidents: list[Row]
    insights: list[Row]
    held: Row | None

    @property
    def known(self) -> bool:
        """Whether anything at all speaks of the event."""
        return bool(self.logs or self.samples or self.anomalies or self.incidents or self.held)

    @property
    def ship_id(self) -> str | None:
        """The ship that the event came from, where that is still stored."""
        raw = evidence.by_arrival(self.logs + self.samples)
        return str(raw[0]["ship_id"]) if raw else None


@dataclass(frozen=True)
class Reached:
    """One stage that was reached, and the message that says so."""

    stage: StageName
    at: datetime
    ref: str


def find(reader: Reader, tracking_id: str) -> Found:
    """Ask the archive for everything about one event."""
    anomalies = query.anomalies_on(reader, tracking_id)
    refs = sorted({row["anomaly_id"] for row in anomalies})
    incidents = query.incidents_on(reader, tracking_id, refs)
    return Found(
        tracking_id,
        evidence.logs(reader, [tracking_id], query.MAX_ALSO_SENT),
        evidence.samples(reader, [tracking_id], query.MAX_ALSO_SENT),
        anomalies,
        incidents,
        incident_query.insights(reader, [row["incident_id"] for row in incidents])[::-1],
        query.held_back(reader, tracking_id, refs),
    )


def assemble(context: ApiContext, found: Found) -> Json:
    """The trace as the API answers it (models.Trace)."""
    reached = _reached(found)
    present = {each.stage for each in reached}
    missing = [
        Missing(stage=stage, reason=_reason(context, found, stage)).model_dump()
        for stage in STAGES
        if stage not in present
    ]
    latest = incident_query.latest(context.reader, [row["incident_id"] for row in found.incidents])
    return {
        "tracking_id": found.tracking_id,
        "complete": present >= NEEDED,
        "missing": missing,
        "stages": [stage.model_dump(mode="json") for stage in _with_latency(reached)],
        "trace": {
            "logs": found.logs,
            "samples": found.samples,
            "anomalies": list(evidence.anomalies(found.anomalies).values()),
            "incidents": [
                json.loads(latest[row["incident_id"]]) for row in found.incidents if row["incident_id"] in latest
            ],
            "insights": [json.loads(row["body"]) for row in found.insights],
        },
    }


def _reached(found: Found) -> list[Reached]:
    reached: list[Reached] = []
    if raw := evidence.by_arrival(found.logs + found.samples):
        at = datetime.fromisoformat(raw[0]["observed_at"])
        reached.append(Reached("ingested", at, found.tracking_id))
    for stage in DETECTION:
        first = next((row for row in found.anomalies if row["stage"] == stage), None)
        if first is not None:
            reached.append(Reached(stage, first["published_at"], first["anomaly_id"]))
    if found.incidents:
        row = found.incidents[0]
        reached.append(Reached("correlated", row["published_at"], f"{row['incident_id']}:{row['revision']}"))
        if insight := _narrative(found.insights, row["published_at"]):
            ref = f"{insight['request_id']}:{insight['version']}"
            reached.append(Reached("narrated", insight["published_at"], ref))
    return reached


def _narrative(insights: Sequence[Row], since: datetime) -> Row | None:
    """The first insight since the event joined its incident, else the last before."""
    later = (row for row in insights if row["published_at"] >= since)
    return next(later, insights[-1] if insights else None)


def _with_latency(reached: Sequence[Reached]) -> list[Stage]:
    stages = []
    before: datetime | None = None
    for each in reached:
        gap = timedelta() if before is None else max(each.at - before, timedelta())
        latency_ms = gap / timedelta(milliseconds=1)
        stages.append(Stage(stage=each.stage, at=each.at, latency_ms=latency_ms, ref=each.ref))
        before = each.at
    return stages


def _reason(context: ApiContext, found: Found, stage: StageName) -> str:
    """Why this stage was not reached."""
    if stage == "ingested":
        return "the raw event is not stored: it is past its retention, or the archive has not written it yet"
    if stage == "narrated":
        return _not_narrated(context, found)
    if stage == "correlated" and found.held is not None:
        return f"held back as {found.held['kind']}: {found.held['reason']}"
    if not found.anomalies:
        return "no anomaly rests on this event" if stage == "detected" else "nothing was detected"
    if stage == "correlated":
        return "no incident rests on its anomalies yet: too few of them so far, or they only cleared"
    return "its message is not stored: it is past its retention, or the archive has not written it yet"


def _not_narrated(context: ApiContext, found: Found) -> str:
    if not found.incidents:
        return "there is no incident to explain"
    if not context.policy.for_ship(found.ship_id or context.settings.ship_id).features.llm:
        return "no narrative has been published; explanation is off (features.llm in policy.yaml)"
    return "no narrative has been published yet"
