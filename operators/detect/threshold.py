"""threshold: a value beyond a fixed bound for longer than a hold time."""

from typing import Any

from operators.detect.finding import Finding, clock_time, number


class Threshold:
    """Fires when every sample for hold_s seconds lay beyond a bound; clears at a level of its own.

    With bound b, clear level c and value x, the excess is e = |x - b| / |b - c| (or / |b| when the
    two are one), and score = 1 - 0.5 / (1 + e). A range has both bounds. above, below, clear: units of
    the metric; hold_s: seconds. State: two numbers a series (35 bytes in a snapshot, 230 in memory);
    cost: about 0.1 µs a sample. Source: the usual practice of
    monitoring systems (Nagios soft states, Prometheus `for`).

    >>> cpu = Threshold(above=85.0, clear=80.0, hold_s=120.0)
    >>> [finding.state if (finding := cpu.update(at, value)) else None
    ...  for at, value in [(0, 90), (60, 91), (120, 92), (180, 82), (240, 79)]]
    [None, None, 'firing', None, 'cleared']
    """

    __slots__ = ("_value", "above", "below", "clear", "firing", "hold_s", "since")

    def __init__(
        self, *, above: float | None = None, below: float | None = None, clear: float | None = None, hold_s: float = 0.0
    ) -> None:
        if above is None and below is None:
            raise ValueError("a threshold needs a bound: above, below or both")
        self.above = above
        self.below = below
        self.clear = clear
        self.hold_s = hold_s
        self.since: float | None = None
        self.firing = False
        self._value: float | None = None

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 at the bound, whether or not the hold has passed."""
        value = self._value
        if value is None or not self._is_beyond(value):
            return 0.0
        return self._score(value, self._crossed(value))

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value); what is not a number is passed over."""
        if value - value != 0.0:
            return None
        self._value = value
        if self.firing:
            return self._clear(at, value) if self._is_clear(value) else None
        if not self._is_beyond(value):
            self.since = None
            return None
        if self.since is None or self.since > at:
            self.since = at
        if at - self.since < self.hold_s:
            return None
        self.firing = True
        return self._fire(at, value, self.since)

    def _is_beyond(self, value: float) -> bool:
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    def _is_clear(self, value: float) -> bool:
        if self.clear is None or (self.above is not None and self.below is not None):
            return not self._is_beyond(value)
        return value <= self.clear if self.above is not None else value >= self.clear

    def _crossed(self, value: float) -> float:
        bound = self.above if self.above is not None and value > self.above else self.below
        assert bound is not None  # one of the two was crossed
        return bound

    def _score(self, value: float, bound: float) -> float:
        band = abs(bound - self.clear) if self.clear is not None else 0.0
        excess = abs(value - bound) / (band or abs(bound) or 1.0)
        return 1.0 - 0.5 / (1.0 + excess)

    def _fire(self, at: float, value: float, since: float) -> Finding:
        bound = self._crossed(value)
        side = "above" if bound == self.above else "below"
        held = f" for {number(at - since)} s (since {clock_time(since)})" if self.hold_s else ""
        return Finding(
            state="firing",
            score=self._score(value, bound),
            expected=None,
            lower=self.below,
            upper=self.above,
            since=since,
            msg=f"{number(value)} is {side} {number(bound)}{held}",
            statistic=value,
            bound=bound,
        )

    def _clear(self, at: float, value: float) -> Finding:
        since = self.since if self.since is not None else at
        self.firing = False
        self.since = None
        return Finding(
            state="cleared",
            score=0.0,
            expected=None,
            lower=self.below,
            upper=self.above,
            since=since,
            msg=f"{number(value)} is within bounds again after {number(at - since)} s",
        )

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"since": self.since, "firing": self.firing}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.since = state["since"]
        self.firing = state["firing"]
