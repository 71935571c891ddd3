"""Maintenance windows: which are open now, and when that changes."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from operators.correlate.matcher_index import MatcherIndex
from operators.correlate.matchers import Matchers, Subject
from policy.maintenance import MAX_UNBROKEN, MaintenanceWindow


class OpenWindow(NamedTuple):
    """A window of policy while it is open: from since (included) until (excluded), UTC.

    Occurrences that overlap or touch are one opening.
    """

    name: str
    policy: MaintenanceWindow
    matchers: Matchers
    since: datetime
    until: datetime


class Maintenance:
    """The maintenance windows of one ship's policy.

    active and next_change cost a comparison until the next boundary; then each window moves on by
    one opening. Time may go back, which reads the rules from their start again. State: none beside
    that place in each rule, which follows from policy and time and is not saved.
    """

    def __init__(self, windows: Mapping[str, MaintenanceWindow]) -> None:
        self._windows = [_Window(name, window) for name, window in sorted(windows.items())]
        self._index = MatcherIndex()
        self._by_name: dict[str, OpenWindow] = {}
        self._open: list[OpenWindow] = []
        self._from: datetime | None = None
        self._to: datetime | None = None
        self.evaluations = 0

    def active(self, at: datetime) -> list[OpenWindow]:
        """The windows open at an instant, by name. The list is not to be changed."""
        if not self._windows:
            return self._open
        if self._from is None or at < self._from or (self._to is not None and at >= self._to):
            self._evaluate(at)
        return self._open

    def next_change(self, at: datetime) -> datetime | None:
        """The first instant after `at` when a window opens or closes, None when none ever does.

        Of an opening longer than 92 days only 92 days are looked at, so that this may be an instant
        at which nothing changes.
        """
        self.active(at)
        return self._to

    def match(self, subject: Subject, at: datetime) -> OpenWindow | None:
        """The open window that holds back the subject; of several the one that lasts longest."""
        if not self.active(at):
            return None
        maybe = [self._by_name[name] for name in self._index.candidates(subject)]
        matching = [window for window in maybe if window.matchers.hold(subject)]
        return max(matching, key=lambda window: (window.until, window.name), default=None)

    def speaks_of(self, name: str, subject: Subject) -> bool:
        """Whether the window of this name, open or not, matches; one that policy no longer has keeps what it held."""
        window = next((each for each in self._windows if each.name == name), None)
        return window is None or window.matchers.hold(subject)

    def _evaluate(self, at: datetime) -> None:
        self.evaluations += 1
        openings = [(window, opening) for window in self._windows if (opening := window.seek(at)) is not None]
        self._open = [
            OpenWindow(window.name, window.policy, window.matchers, *opening)
            for window, opening in openings
            if opening[0] <= at
        ]
        self._by_name = {window.name: window for window in self._open}
        self._index = MatcherIndex()
        for window in self._open:
            self._index.add(window.name, window.matchers)
        edges = [edge for _, opening in openings for edge in opening if edge > at]
        self._from, self._to = at, min(edges, default=None)


class _Window:
    """One window's place in its rule: the first opening that ends after the last instant asked for."""

    def __init__(self, name: str, policy: MaintenanceWindow) -> None:
        self.name = name
        self.policy = policy
        self.matchers = Matchers(policy.match.given)
        self._rewind()

    def _rewind(self) -> None:
        self._openings = _openings(self.policy.recurrence.starts(), self.policy.duration)
        self._passed: datetime | None = None
        self._opening = next(self._openings, None)

    def seek(self, at: datetime) -> tuple[datetime, datetime] | None:
        if self._passed is not None and at < self._passed:
            self._rewind()
        while self._opening is not None and self._opening[1] <= at:
            self._passed = self._opening[1]
            self._opening = next(self._openings, None)
        return self._opening


def _openings(starts: Iterator[datetime], duration: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Starts in order as openings: what overlaps or touches is one, cut after 92 days."""
    since = next(starts, None)
    if since is None:
        return
    until = since + duration
    for start in starts:
        if start > until or until - since >= MAX_UNBROKEN:
            yield since, until
            since = max(start, until) if start <= until else start
        until = start + duration
    yield since, until
