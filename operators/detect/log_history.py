"""What is known of a ship's log lines from before: teaches its templates and rates when a start has no state."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from operators.detect.storm import Origin


class KnownForm(NamedTuple):
    """One masked form: its hash, one line of it, how many there were, and when the first arrived."""

    hash: str
    example: str
    lines: int
    first: datetime


class CountedLines(NamedTuple):
    """Lines of one device, service, level and masked form: how many in each window that had any (see RateRule)."""

    device_id: str
    service: str
    level: str
    hash: str
    windows: tuple[tuple[int, int], ...]


class ShipHistory(NamedTuple):
    """The lines of one ship before now: their masked forms, and counts in windows of window_s seconds."""

    forms: tuple[KnownForm, ...]
    window_s: int
    counts: tuple[CountedLines, ...]


LogHistory = Mapping[str, ShipHistory]
"""What came before, by ship. Plain data: whoever starts the flow has fetched it."""

Taught = tuple[Origin, str | int, int, list[int]]
"""An origin, a level or the id of a template, the first window, and the counts from there on."""


def series_of(history: ShipHistory, ids: Mapping[str, int], until: int) -> Iterator[Taught]:
    """Counts by level and by template before the window `until`; the series of an origin begin with its first line.

    ids gives the template of a masked form. An origin with lines of a form that is not in it is left
    out: its level would be known and its template not, which would then look like a storm.
    """
    unknown: set[Origin] = set()
    counted: dict[Origin, dict[str | int, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for device_id, service, level, form, windows in history.counts:
        before = {window: count for window, count in windows if window < until}
        if not before:
            continue
        if form not in ids:
            unknown.add((device_id, service))
            continue
        origin = counted[device_id, service]
        origin[level].update(before)
        origin[ids[form]].update(before)
    for key in sorted(counted.keys() - unknown):
        series = counted[key]
        first = min(min(windows) for windows in series.values())
        for name, found in series.items():
            yield key, name, first, [found.get(window, 0) for window in range(first, max(found) + 1)]
