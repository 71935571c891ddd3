"""Parameters that several routes share."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Final, Literal

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from api.context import Context
from api.problems import ApiProblem
from schemas.base import Domain, UtcDatetime

WindowName = Literal["1h", "24h", "7d"]
WINDOWS: Final[dict[WindowName, timedelta]] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
DEFAULT_WINDOW: Final[WindowName] = "24h"

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)

Ship = Annotated[str | None, Query(min_length=1, max_length=256, description="only this ship")]
Device = Annotated[str | None, Query(min_length=1, max_length=256, description="only what touches this device")]


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that the route does not know: a filter that is misspelt would filter nothing."""
    known = _query_names(request.scope["route"].dependant)
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            named = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ApiProblem(422, f"query.{name[:80]}: unknown parameter of {request.url.path}, {hint}{named}")


def _query_names(dependant: Dependant) -> list[str]:
    """The query parameters that a route, or anything it depends on, takes."""
    own = [field.alias for field in dependant.query_params]
    return own + [name for each in dependant.dependencies for name in _query_names(each)]


@dataclass(frozen=True)
class Window:
    """A span of time: from `since` up to and without `until`, and what it is called."""

    name: str
    since: datetime
    until: datetime


def micros(at: datetime) -> int:
    """Microseconds since 1970, as queries take times.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    return (at - _FIRST) // timedelta(microseconds=1)


async def get_window(
    context: Context,
    window: Annotated[WindowName | None, Query(description="the time up to now; 24h when nothing is said")] = None,
    since: Annotated[UtcDatetime | None, Query(alias="from", description="instead of window, with a time zone")] = None,
    until: Annotated[UtcDatetime | None, Query(alias="to", description="end of from (exclusive); now if unset")] = None,
) -> Window:
    """The window that a request names."""
    if since is None and until is None:
        name = window or DEFAULT_WINDOW
        now = context.clock()
        # Exclusive: what happened at this very microsecond is in.
        return Window(name, now - WINDOWS[name], now + timedelta(microseconds=1))
    if window is not None:
        raise ApiProblem(422, "query: window and from/to exclude each other, send one of them")
    if since is None:
        raise ApiProblem(422, "query.from: missing, send it together with to")
    until = context.clock() if until is None else until
    if not _FIRST <= since < until <= _LAST:
        raise ApiProblem(422, "query.from: expected before query.to, both between the years 1970 and 2200")
    return Window(f"{_text(since)}/{_text(until)}", since, until)


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class StatsFilter:
    """What to count: a window, and a ship and a domain if named."""

    window: Window
    ship: str | None
    domain: Domain | None

    def parameters(self) -> dict[str, object]:
        """As the queries of api.queries.stats take it ('' means any)."""
        return {
            "since": micros(self.window.since),
            "until": micros(self.window.until),
            "ship": self.ship or "",
            "domain": self.domain or "",
        }


async def get_stats_filter(
    window: Annotated[Window, Depends(get_window)],
    ship: Ship = None,
    domain: Annotated[Domain | None, Query(description="only this domain")] = None,
) -> StatsFilter:
    """The filter that a request names."""
    return StatsFilter(window, ship, domain)


StatsQuery = Annotated[StatsFilter, Depends(get_stats_filter)]
