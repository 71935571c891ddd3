"""GET /api/v3/incidents: what is wrong; and one incident with everything that it rests on."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import JSONResponse

from api import cursor as cursors
from api import evidence
from api.context import Context
from api.models import IncidentDetail, IncidentPage, Revision
from api.params import Device, Ship
from api.problems import ApiProblem, error_responses
from api.queries import incidents as query
from api.queries.incidents import IncidentFilter, PageKey
from schemas.base import Severity
from schemas.incident import IncidentStatus

router = APIRouter(prefix="/api/v3/incidents", tags=["incidents"], responses=error_responses(422, 500, 503))


async def get_filter(
    status: Annotated[list[IncidentStatus] | None, Query(description="any of these; repeat it for several")] = None,
    severity: Annotated[list[Severity] | None, Query(description="any of these; repeat it for several")] = None,
    type: Annotated[str | None, Query(min_length=1, max_length=256, description="only this incident_type")] = None,
    ship: Ship = None,
    device: Device = None,
) -> IncidentFilter:
    """The filter that a request names."""
    return IncidentFilter(
        tuple(sorted(set(status or ()))),
        tuple(sorted({each.value for each in severity or ()})),
        type or "",
        ship or "",
        device or "",
    )


@router.get("", response_model=IncidentPage)
def incidents(
    context: Context,
    which: Annotated[IncidentFilter, Depends(get_filter)],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024, description="next_cursor of the page before")] = None,
) -> Response:
    """The latest revision of each incident as it was published, the last changed first.

    The pages of one walk show the archive as it was at the first page, so an incident that changes
    meanwhile is neither missed nor shown twice.
    """
    reader = context.reader
    key = PageKey(query.as_of(reader)) if cursor is None else cursors.decode(cursor, which)
    keys = query.page(reader, which, key, limit + 1)
    shown, more = keys[:limit], len(keys) > limit
    items = [json.loads(body) for body in query.bodies(reader, shown)]
    last = shown[-1] if more else None
    next_key = PageKey(key.as_of, last["updated"], last["incident_id"]) if last else None
    return JSONResponse({"items": items, "next_cursor": cursors.encode(next_key, which) if next_key else None})


@router.get("/{incident_id}", response_model=IncidentDetail, responses=error_responses(404))
def incident(
    context: Context,
    incident_id: Annotated[str, Path(max_length=256, examples=["6e1d2f0a-0000-8000-8000-000000000001"])],
) -> Response:
    """One incident: latest revision, all revisions, and for each evidence its anomaly and raw event.

    narrative is that of the newest insight; without one it is the incident's own.
    """
    reader = context.reader
    body = query.latest(reader, [incident_id]).get(incident_id)
    if body is None:
        raise ApiProblem(404, "no incident has this id; GET /api/v3/incidents lists them")
    latest = json.loads(body)
    insights = [json.loads(row["body"]) for row in query.insights(reader, [incident_id])]
    revisions = [Revision.model_validate(row).model_dump(mode="json") for row in query.revisions(reader, incident_id)]
    return JSONResponse(
        {
            **latest,
            "narrative": insights[0]["narrative"] if insights else latest.get("narrative"),
            "revisions": revisions,
            "evidence_resolved": evidence.resolve(reader, latest.get("evidence", [])),
            "insights": insights,
        }
    )
