"""What a detector says about one sample, before it becomes an anomaly."""

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol


class Finding(NamedTuple):
    """A change of a detector's mind: it fires, or it clears.

    since is event time in seconds since 1970; score is 0.5 where firing begins. statistic is what the
    detector compared with its bound, in the unit that msg names; None for a detector that compares
    nothing. votes: of several detectors that speak as one, (name, finding) of each that fires now.
    """

    state: Literal["firing", "cleared"]
    score: float
    expected: float | None
    lower: float | None
    upper: float | None
    since: float
    msg: str
    statistic: float | None = None
    bound: float | None = None
    votes: "tuple[tuple[str, Finding], ...]" = ()
    flapping: bool = False


class MetricDetector(Protocol):
    """The contract of every metric detector: a pure state machine over one series.

    update() is fed samples in event-time order with finite values; it answers only when its state
    changes. snapshot() is plain data, not live state; restore() of it behaves as if never stopped.
    """

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where firing begins."""

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot of the same detector."""


def number(value: float) -> str:
    """A value as people write it.

    >>> number(93.25), number(0.00012345), number(1234567.0)
    ('93.25', '0.0001234', '1.235e+06')
    """
    return f"{value:.4g}"


def clock_time(seconds: float) -> str:
    """Seconds since 1970 as UTC date and time.

    >>> clock_time(0)
    '1970-01-01 00:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
