"""GET /api/v3/trace/{tracking_id}: how we know, from the raw event to the narrative."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from api import tracing
from api.context import Context
from api.models import Trace
from api.problems import ApiProblem, error_responses

router = APIRouter(prefix="/api/v3/trace", tags=["trace"], responses=error_responses(404, 422, 500, 503))

ANY_CASE_UUID: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


@router.get("/{tracking_id}", response_model=Trace)
def trace(
    context: Context,
    tracking_id: Annotated[
        str,
        Path(pattern=ANY_CASE_UUID, description="a UUID", examples=["abcdef01-2345-8000-8000-000000000007"]),
    ],
) -> Response:
    """Every stage that one event went through, with times, and why it went no further.

    An anomaly belongs to the event when it was found on it or names it among its evidence; an
    incident when it rests on the event or on one of these anomalies. complete means that ingested,
    detected, enriched and correlated are there.
    """
    found = tracing.find(context.reader, tracking_id.lower())
    if not found.known:
        raise ApiProblem(
            404, "nothing with this tracking_id is stored; it was never seen, dropped, or is past retention"
        )
    return JSONResponse(tracing.assemble(context, found))
