"""Log time: arrival times of the log itself, so that a replay sees the same time as the live flow."""

from datetime import datetime, timedelta

STEP = timedelta(seconds=1)
BACK = timedelta(seconds=10)
"""Arrivals must have run on below log time for so long before log time follows them back."""

_NOTHING = timedelta(0)


class LogClock:
    """Says when log time has reached a new second.

    A source asks it before each message and, on True, hands on a tick with that message's arrival
    time first. So ticks are a function of the log alone: the same live, replayed, and after a
    restart with the state it had. Log time is the largest arrival seen, until the server's clock has
    been set back: once arrivals have stayed below it while they themselves went on by BACK, it follows
    them, and the next tick is earlier than the last. State: two times.

    >>> from datetime import UTC
    >>> clock = LogClock()
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [clock.reaches(noon + timedelta(milliseconds=ms)) for ms in (0, 400, 999, 1000, 500, 2500)]
    [True, False, False, True, False, True]
    >>> [clock.reaches(noon + timedelta(hours=-1, seconds=s)) for s in (0, 5, 9, 10, 11)]
    [False, False, False, True, True]
    """

    def __init__(self, reached: datetime | None = None, back_since: datetime | None = None) -> None:
        self.reached = reached
        self.back_since = back_since

    def reaches(self, at: datetime) -> bool:
        """True when at begins a new second of log time."""
        if self.reached is not None:
            ahead = at - self.reached
            if _NOTHING <= ahead < STEP:
                self.back_since = None
                return False
            if ahead < _NOTHING and not self._is_set_back(at):
                return False
        self.reached = at.replace(microsecond=0)
        self.back_since = None
        return True

    def _is_set_back(self, at: datetime) -> bool:
        """Whether arrivals have gone on below log time for long enough to be believed."""
        if self.back_since is None or at < self.back_since:
            self.back_since = at
        return at - self.back_since >= BACK
