"""An example of a detector of one's own: one file, one entry under detect.custom."""

from typing import Any

from operators.detect.finding import Finding, clock_time, number


class Jump:
    """Fires when a value differs from the one before by more than `most`; clears after `calm` steps without.

    State: two numbers a series. Source: the slew-rate check of process control.
    """

    __slots__ = ("_left", "_size", "_value", "calm", "firing", "most", "since")

    def __init__(self, *, most: float, calm: int = 3) -> None:
        self.most = most
        self.calm = calm
        self.firing = False
        self.since = 0.0
        self._value: float | None = None
        self._size = 0.0
        self._left = 0

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 at the bound."""
        ratio = self._size / self.most
        return ratio / (1.0 + ratio)

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if value - value != 0.0:
            return None
        before = value if self._value is None else self._value
        self._value = value
        self._size = min(abs(value - before), 1e9 * self.most)
        if self._size >= self.most:
            self._left = self.calm
            if self.firing:
                return None
            self.firing, self.since = True, at
            msg = f"{number(before)} became {number(value)}, since {clock_time(at)}"
            low, high = before - self.most, before + self.most
            return Finding("firing", self.score, before, low, high, at, msg, self._size, self.most)
        self._left -= 1
        if not self.firing or self._left > 0:
            return None
        self.firing = False
        return Finding("cleared", 0.0, before, None, None, self.since, f"{number(value)}: steady again")

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"now": (self._value, self._left, self._size, self.since, self.firing)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._value, self._left, self._size, self.since, self.firing = state["now"]
