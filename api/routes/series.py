"""GET /api/v3/series: a metric as it was, with what was found on it; and one anomaly by its id."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import JSONResponse

from api import evidence
from api.context import Context, Reader, Row
from api.params import Ship, Window, get_window, micros
from api.problems import ApiProblem, error_responses
from api.queries import evidence as evidence_query
from api.queries import series as query
from api.series_models import AnomalyPublished, Series, SeriesFinding, SeriesList, SeriesName, SeriesPoint

router = APIRouter(prefix="/api/v3", tags=["series"], responses=error_responses(422, 500, 503))

MAX_NAMES: Final = 100
MAX_POINTS: Final = 10_000
MAX_NAME: Final = 2048
NEAR: Final = 3


@router.get("/series")
def series_names(
    context: Context,
    like: Annotated[str | None, Query(max_length=MAX_NAME, description="only names that contain this text")] = None,
    ship: Ship = None,
    limit: Annotated[int, Query(ge=1, le=MAX_NAMES)] = MAX_NAMES,
) -> SeriesList:
    """Names of metric series that are stored; those that end with like come first."""
    rows = query.names(context.reader, like=like or "", ship=ship or "", limit=limit + 1)
    return SeriesList(items=[_name(row) for row in rows[:limit]], more=len(rows) > limit)


@router.get("/series/{series_id:path}", responses=error_responses(404))
def series(
    context: Context,
    series_id: Annotated[
        str,
        Path(
            min_length=1,
            max_length=MAX_NAME,
            description="ship/device/service/metric, and {labels} if it has any; percent-encode it",
            examples=["aurora/vsat-1/modem/rf_snr_db"],
        ),
    ],
    window: Annotated[Window, Depends(get_window)],
    points: Annotated[int, Query(ge=1, le=MAX_POINTS, description="at most so many points")] = 1000,
) -> Series:
    """One series in a span of time, with the findings on it.

    When there are more samples than points, each point stands for those of an equal part of the
    span: their mean, and the lowest and the highest, so that a spike stays to be seen.
    """
    reader = context.reader
    since, until = micros(window.since), micros(window.until)
    about = query.known(reader, series_id, since, until)
    place = about or query.known_by_finding(reader, series_id)
    if place is None:
        raise ApiProblem(404, _unknown(reader, series_id))
    found, left_out = query.findings(reader, series_id, since, until)
    return Series(
        series=series_id,
        ship_id=place["ship_id"],
        device_id=place["device_id"],
        service=place["service"],
        metric_name=place.get("metric_name"),
        unit=place.get("unit") or None,
        since=window.since,
        until=window.until,
        first_at=place.get("first_at"),
        last_at=place.get("last_at"),
        points=_points(reader, series_id, since, until, points, about["samples"]) if about else [],
        findings=[SeriesFinding.model_validate(row) for row in found],
        findings_left_out=left_out,
    )


@router.get("/anomalies/{anomaly_id}", response_model=AnomalyPublished, responses=error_responses(404))
def anomaly(
    context: Context,
    anomaly_id: Annotated[str, Path(max_length=256, examples=["0c9a6c1e-0000-8000-8000-000000000001"])],
) -> Response:
    """One anomaly as it was published, enriched if that has been stored; series says what it was found on."""
    found = evidence.anomalies(evidence_query.anomalies(context.reader, [anomaly_id])).get(anomaly_id)
    if found is None:
        raise ApiProblem(
            404, "no anomaly has this id, or it is past retention; an incident's evidence names its anomalies (ref)"
        )
    return JSONResponse(found)


def _points(reader: Reader, series_id: str, since: int, until: int, most: int, samples: int) -> list[SeriesPoint]:
    if samples == 0:
        return []
    rows = query.points(reader, series_id, since, until, most, raw=samples <= most)
    return [_point(row) for row in rows]


def _point(row: Row) -> SeriesPoint:
    # A mean of huge values may overflow to infinity, which JSON does not know.
    low, high = row["lowest"], row["highest"]
    return SeriesPoint(ts=row["at"], value=min(max(low, row["mean"]), high), min=low, max=high, samples=row["samples"])


def _name(row: Row) -> SeriesName:
    return SeriesName.model_validate({**row, "unit": row["unit"] or None})


def _unknown(reader: Reader, series_id: str) -> str:
    """What to say about a name that nobody has seen: some that end alike, and where all are listed."""
    rows = query.names(reader, like=series_id.rpartition("/")[2], ship="", limit=NEAR) if series_id else []
    near = "; near it: " + ", ".join(row["series"] for row in rows) if rows else ""
    return f"no series has this name, or it is past retention{near}; GET /api/v3/series?like= lists them"
