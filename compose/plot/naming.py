"""Which series a person means, and which span of time."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import NamedTuple

from compose.plot.errors import PlotError
from schemas.base import UUID_PATTERN, to_utc

SHOWN = 5
_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Times(NamedTuple):
    """The span that was asked for: the last so many seconds, or from a time to a time; all None: the usual."""

    ago_s: float | None = None
    since: datetime | None = None
    until: datetime | None = None


def read_times(ago: str | None, since: str | None, until: str | None) -> Times:
    """The span that --since, --from and --to name.

    >>> read_times("90m", None, None).ago_s
    5400.0

    Raises:
        PlotError: naming the option and what was expected.
    """
    if ago is not None and (since is not None or until is not None):
        raise PlotError("--since and --from/--to exclude each other: give one of them")
    if until is not None and since is None:
        raise PlotError("--to needs --from: give both, or --from alone for all that followed")
    times = Times(_read_ago(ago), _read_time("--from", since), _read_time("--to", until))
    if times.since is not None and times.until is not None and times.since >= times.until:
        raise PlotError("--from is not before --to: exchange them")
    return times


def _read_ago(text: str | None) -> float | None:
    if text is None:
        return None
    match = _AGO.fullmatch(text)
    if match is None or not 0 < (seconds := float(match[1]) * _SECONDS[match[2]]) <= 36_500 * 86_400:
        raise PlotError(f"--since is {text!r}: expected a number and s, m, h or d, for example 90m")
    return seconds


def _read_time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = to_utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise PlotError(f"{option} is {text!r}: expected a time such as 2026-03-01T12:00:00Z ({error})") from error
    if not datetime(1970, 1, 1, tzinfo=UTC) <= at <= datetime(2200, 1, 1, tzinfo=UTC) - timedelta(seconds=1):
        raise PlotError(f"{option} is {text!r}: expected a time between the years 1970 and 2200")
    return at


def is_anomaly_id(name: str) -> bool:
    """Whether the name has the form of an anomaly's id.

    >>> is_anomaly_id("aurora/srv-1/node/cpu_pct")
    False
    """
    return re.fullmatch(UUID_PATTERN, name.lower()) is not None


def pick(name: str, names: Sequence[str], where: str) -> str:
    """The series of that name, or the only one that ends with it (its labels aside).

    >>> pick("node/cpu_pct", ["aurora/srv-1/node/cpu_pct", "aurora/srv-1/node/mem_pct"], "here")
    'aurora/srv-1/node/cpu_pct'

    Raises:
        PlotError: when none or several fit, naming some; where says where they were looked for.
    """
    if name in names:
        return name
    fitting = sorted(each for each in names if _ends(each, name))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise PlotError(f"{name} is the end of {len(fitting)} series: {_some(fitting)}; give more of the name")
    near = _near(name, names)
    hint = f"near it: {_some(near)}" if near else f"there are: {_some(sorted(names))}" if names else "there are none"
    raise PlotError(f"{where} has no series {name}; {hint}")


def no_samples(series: str, first: float, last: float) -> str:
    """What to say when the span holds none of a series' samples."""

    def text(seconds: float) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"

    return (
        f"{series} has no samples in this span of time; it has some from {text(first)} to {text(last)}: "
        f"give --from {text(first)}"
    )


def _ends(series: str, name: str) -> bool:
    return series.endswith(f"/{name}") or series.partition("{")[0].endswith(f"/{name}")


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Names that look alike, as a whole or at their end."""
    tail = name.rpartition("/")[2]
    by_tail: dict[str, list[str]] = {}
    for each in sorted(names):
        by_tail.setdefault(each.rpartition("/")[2], []).append(each)
    found = get_close_matches(name, names, n=3, cutoff=0.75)
    for close in get_close_matches(tail, by_tail, n=3, cutoff=0.6):
        found += by_tail[close]
    return list(dict.fromkeys(found))


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
