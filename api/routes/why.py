"""GET /api/v3/why/{id}: why did I (not) hear about this; and ids by their beginning."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from api import why as reasons
from api.context import Context
from api.params import Ship
from api.problems import ApiProblem, error_responses
from api.queries import why as query
from api.why_models import IdKind, KnownId, KnownIds, Why

router = APIRouter(prefix="/api/v3", tags=["why"], responses=error_responses(422, 500, 503))

MIN_BEGINNING: Final = 4
MAX_SHOWN: Final = 5

AnyId = Annotated[
    str,
    Path(
        alias="id",
        min_length=MIN_BEGINNING,
        max_length=256,
        description="of an incident, anomaly, event (tracking_id), silence or command, or a maintenance window's name; "
        "of all but an event and a window its beginning will do",
        examples=["6e1d2f0a-0000-8000-8000-000000000001"],
    ),
]


@router.get("/why/{id}", responses=error_responses(404, 409))
def why(context: Context, any_id: AnyId) -> Why:
    """Why people did, or did not, hear about this: what decided it, in order of time, and what to do.

    It says what held a finding back (silence, maintenance, inhibition, repetition, storm), until when
    and for what reason; which incident it belongs to; and what people did about it.
    """
    answer = reasons.explain(context, any_id)
    if answer is None:
        answer = reasons.explain(context, _only_one(context, any_id))
    if answer is None:
        raise _unknown(any_id)
    return answer


@router.get("/ids/{beginning}")
def ids(
    context: Context,
    beginning: Annotated[str, Path(min_length=MIN_BEGINNING, max_length=256, examples=["6e1d2f0a"])],
    kind: Annotated[IdKind | None, Query(description="only these")] = None,
    ship: Ship = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> KnownIds:
    """Incidents, anomalies, silences and other commands whose id begins so, the newest first."""
    rows = query.beginning(context.reader, beginning.lower(), kind=kind or "", ship=ship or "", limit=limit + 1)
    return KnownIds(items=[KnownId.model_validate(row) for row in rows[:limit]], more=len(rows) > limit)


def _only_one(context: Context, text: str) -> str:
    rows = query.beginning(context.reader, text.lower(), kind="", ship="", limit=MAX_SHOWN + 1)
    if not rows:
        raise _unknown(text)
    if len(rows) > 1:
        shown = ", ".join(row["id"] for row in rows[:MAX_SHOWN])
        more = " and others" if len(rows) > MAX_SHOWN else ""
        raise ApiProblem(409, f"{text} is the beginning of several ids: {shown}{more}; give more of it")
    return str(rows[0]["id"])


def _unknown(text: str) -> ApiProblem:
    return ApiProblem(
        404,
        f"nothing is known of {text[:80]}: it is no id of an incident, anomaly, event, silence or command, is past "
        "retention, or is not stored yet; `watchkeeper incidents` or GET /api/v3/incidents lists incidents",
    )
