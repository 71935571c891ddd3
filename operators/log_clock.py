"""Log time: arrival times of the log itself, so that a replay sees the same time as the live flow."""

from datetime import datetime, timedelta

STEP = timedelta(seconds=1)


class LogClock:
    """Says when log time has reached a new second.

    A source asks it before each message and, on True, hands on a tick with that message's arrival
    time first. So ticks are a function of the log alone: the same live, replayed, and after a
    restart with the state it had. A clock that steps backwards moves nothing. State: one time.

    >>> from datetime import UTC
    >>> clock = LogClock()
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [clock.reaches(noon + timedelta(milliseconds=ms)) for ms in (0, 400, 999, 1000, 500, 2500)]
    [True, False, False, True, False, True]
    """

    def __init__(self, reached: datetime | None = None) -> None:
        self.reached = reached

    def reaches(self, at: datetime) -> bool:
        """True when at begins a new second of log time."""
        if self.reached is not None and at - self.reached < STEP:
            return False
        self.reached = at.replace(microsecond=0)
        return True
