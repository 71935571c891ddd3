"""What one device and service says in one pattern: fires at the first match, clears after quiet."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

MAX_REFS = 100


class Hit(NamedTuple):
    """One matching line: tracking id, event time, and the fields its groups held."""

    tracking_id: str
    ts: datetime
    fields: dict[str, str]
    text: str


class Report(NamedTuple):
    """What to say: so many lines since the last report, the first of them as example.

    cleared is true when quiet has lasted; hit is then the last line that matched.
    """

    at: datetime
    hit: Hit
    lines: int
    refs: tuple[str, ...]
    since: datetime
    cleared: bool


class PatternTiming(NamedTuple):
    """From policy.detect: so many lines are reported one by one, later ones once a period."""

    burst: int
    repeat: timedelta
    clear: timedelta


class PatternSeries:
    """Reports each of the first lines of a period at once and counts the rest until it ends.

    A period lasts `repeat`; up to `burst` lines in it are reported as they come, the rest in one
    report when it is over, with at most 100 tracking ids. After `clear` without a match it clears.
    Time is log time. State: one hit and at most 100 ids, until it clears.
    """

    def __init__(self, timing: PatternTiming, first: Hit, at: datetime) -> None:
        self.timing = timing
        self.since = at
        self.last_at = at
        self.last = first
        self.period_start = at
        self.reported = 0
        self.waiting: list[str] = []
        self.waiting_count = 0
        self.waiting_hit: Hit | None = None

    def hit(self, hit: Hit, at: datetime) -> Report | None:
        """Take one matching line that arrived at `at`; deadlines up to then have been served."""
        self.last, self.last_at = hit, at
        if at - self.period_start >= self.timing.repeat:
            self.period_start, self.reported = at, 0
        if self.reported < self.timing.burst:
            self.reported += 1
            return Report(at, hit, 1, (hit.tracking_id,), self.since, cleared=False)
        self.waiting_hit = self.waiting_hit or hit
        self.waiting_count += 1
        if len(self.waiting) < MAX_REFS:
            self.waiting.append(hit.tracking_id)
        return None

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: quiet and the period count from there."""
        self.last_at = min(self.last_at, at)
        self.period_start = min(self.period_start, at)

    @property
    def deadline(self) -> datetime:
        """When due() has something to say."""
        if self.waiting_count:
            return self.period_start + self.timing.repeat
        return self.last_at + self.timing.clear

    def due(self, at: datetime) -> Report:
        """The report that the deadline `at` brings: what was waiting, or that it has cleared."""
        if self.waiting_hit is not None:
            report = Report(at, self.waiting_hit, self.waiting_count, tuple(self.waiting), self.since, cleared=False)
            self.waiting, self.waiting_count, self.waiting_hit = [], 0, None
            self.period_start, self.reported = at, self.timing.burst
            return report
        return Report(at, self.last, 0, (self.last.tracking_id,), self.since, cleared=True)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "since": self.since,
            "last_at": self.last_at,
            "last": tuple(self.last),
            "period_start": self.period_start,
            "reported": self.reported,
            "waiting": list(self.waiting),
            "waiting_count": self.waiting_count,
            "waiting_hit": tuple(self.waiting_hit) if self.waiting_hit else None,
        }

    @classmethod
    def restored(cls, timing: PatternTiming, state: dict[str, Any]) -> Self:
        """A series that goes on from a snapshot."""
        series = cls(timing, Hit(*state["last"]), state["since"])
        series.last_at = state["last_at"]
        series.period_start = state["period_start"]
        series.reported = state["reported"]
        series.waiting = list(state["waiting"])
        series.waiting_count = state["waiting_count"]
        series.waiting_hit = Hit(*state["waiting_hit"]) if state["waiting_hit"] else None
        return series
