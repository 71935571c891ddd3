"""GET /api/v3/silences: what is not told just now because somebody wants it so."""

import json
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.context import Context, Row
from api.params import Ship
from api.problems import error_responses
from api.queries import silences as query

router = APIRouter(prefix="/api/v3/silences", tags=["silences"], responses=error_responses(422, 500, 503))

MAX_SILENCES: Final = 1000


class ActiveSilence(BaseModel):
    """What is held back, by whom, why and until when; and how often it has held something back, when last."""

    silence_id: str
    ship_id: str
    matchers: dict[str, str] = Field(description="all must hold; values are exact or globs")
    owner: str
    reason: str
    created_at: datetime
    expires_at: datetime | None = Field(description="null where it is not recorded")
    hits: Annotated[int, Field(ge=0)]
    last_hit_at: datetime | None


class SilenceList(BaseModel):
    """Silences in force, the first to end first; more says that there are others beside these."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    {
                        "silence_id": "5117e0ce-0000-4000-8000-000000000001",
                        "ship_id": "aurora",
                        "matchers": {"device_id": "vsat-1"},
                        "owner": "ana",
                        "reason": "dish is being serviced",
                        "created_at": "2026-03-01T00:00:00Z",
                        "expires_at": "2026-03-01T02:00:00Z",
                        "hits": 3,
                        "last_hit_at": "2026-03-01T00:40:00Z",
                    }
                ],
                "more": False,
            }
        }
    )

    items: list[ActiveSilence]
    more: bool


@router.get("")
def silences(
    context: Context,
    ship: Ship = None,
    limit: Annotated[int, Query(ge=1, le=MAX_SILENCES)] = MAX_SILENCES,
) -> SilenceList:
    """The silences in force: what each holds back, whose it is, why, until when, and what it has held back so far."""
    found = query.silences(context.reader, ship=ship or "", now=context.clock(), limit=limit + 1)
    rows = found[:limit]
    since = min((row["created_at"] for row in rows), default=context.clock())
    hits = query.hits(context.reader, [row["silence_id"] for row in rows], since)
    items = [_silence(row, hits.get(row["silence_id"], {})) for row in rows]
    return SilenceList(items=items, more=len(found) > limit)


def _silence(row: Row, hit: Row) -> ActiveSilence:
    said: dict[str, Any] = {**row, "matchers": json.loads(row["matchers"] or "null") or {}}
    said["reason"] = row["reason"].removeprefix(f"silence by {row['owner']}").removeprefix(": ")
    return ActiveSilence(**said, hits=hit.get("hits", 0), last_hit_at=hit.get("last_hit_at"))
