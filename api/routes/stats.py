"""GET /api/v3/stats and its parts: how many, how bad, of what kind, and what was held back."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query

from api.context import Context, Row
from api.models import (
    DomainCounts,
    DuplicateStats,
    SeverityCount,
    SeverityCounts,
    SeverityStats,
    Stats,
    SuppressionStats,
    TopDuplicate,
    TopSuppression,
    TypeCount,
    TypeStats,
)
from api.params import StatsQuery
from api.problems import error_responses
from api.queries import stats as query
from schemas.base import Severity
from schemas.incident import SuppressionKind

router = APIRouter(prefix="/api/v3/stats", tags=["stats"], responses=error_responses(422, 500, 503))

Top = Annotated[int, Query(ge=1, le=100, description="how many of the most frequent to name")]
NOT_OVER: Final = frozenset({"open", "ack"})
HELD_KINDS: Final = tuple(kind for kind in get_args(SuppressionKind) if kind != "duplicate")


def _sums(rows: Iterable[Row], column: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row[column]] += row["incidents"]
    return sums


@router.get("")
def stats(context: Context, which: StatsQuery) -> Stats:
    """Incidents of a window by status, severity and domain.

    An incident counts once, by its latest revision. It belongs to the window when it was opened
    before its end and is still open or acknowledged, or was last changed in it.
    """
    rows = query.incident_counts(context.reader, which.parameters())
    status = _sums(rows, "status")
    return Stats(
        window=which.window.name,
        since=which.window.since,
        until=which.window.until,
        total=sum(status.values()),
        open=status["open"],
        ack=status["ack"],
        resolved=status["resolved"],
        suppressed=status["suppressed"],
        by_severity=SeverityCounts.model_validate(_sums(rows, "severity")),
        by_domain=DomainCounts.model_validate(_sums(rows, "domain")),
    )


@router.get("/severity")
def by_severity(context: Context, which: StatsQuery) -> SeverityStats:
    """Incidents of a window by severity, critical first; open counts those that are not over."""
    rows = query.incident_counts(context.reader, which.parameters())
    counts = _sums(rows, "severity")
    active = _sums((row for row in rows if row["status"] in NOT_OVER), "severity")
    worst_first = sorted(Severity, key=lambda severity: -severity.rank)
    return SeverityStats(
        by_severity=[
            SeverityCount(severity=severity, count=counts[severity.value], open=active[severity.value])
            for severity in worst_first
        ]
    )


@router.get("/type")
def by_type(context: Context, which: StatsQuery) -> TypeStats:
    """Incidents of a window by type, the most frequent first."""
    rows = query.incident_counts(context.reader, which.parameters())
    counts = _sums(rows, "incident_type")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return TypeStats(
        by_type=[
            TypeCount(type=kind, count=count, **_sums((r for r in rows if r["incident_type"] == kind), "severity"))
            for kind, count in ordered
        ]
    )


@router.get("/duplicates")
def duplicates(context: Context, which: StatsQuery, top: Top = 10) -> DuplicateStats:
    """Findings that repeated what an incident already knew, and their share of all findings that fired."""
    parameters = which.parameters()
    held = query.held_by_kind(context.reader, parameters).get("duplicate", 0)
    fired = max(held, query.findings(context.reader, parameters))
    return DuplicateStats(
        duplicates=held,
        ratio=held / fired if fired else 0.0,
        top=[TopDuplicate.model_validate(row) for row in query.top_duplicates(context.reader, parameters, top)],
    )


@router.get("/suppressions")
def suppressions(context: Context, which: StatsQuery, top: Top = 10) -> SuppressionStats:
    """What was held back for another reason than repetition: by kind, by what and until when."""
    parameters = which.parameters()
    held = query.held_by_kind(context.reader, parameters)
    by_kind = {kind: held.get(kind, 0) for kind in HELD_KINDS}
    return SuppressionStats(
        suppressed=sum(by_kind.values()),
        by_kind=by_kind,
        top=[TopSuppression.model_validate(row) for row in query.top_suppressions(context.reader, parameters, top)],
    )
