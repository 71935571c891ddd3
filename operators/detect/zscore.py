"""zscore: a value far from the mean of the samples before it, in standard deviations."""

from array import array
from collections.abc import Iterable
from math import sqrt
from typing import Any

from river import stats, utils

from operators.detect.finding import Finding, clock_time, number

LIMIT = 1e100
"""Values beyond are taken as this: the square of a larger one is infinite."""

GLITCH = 1e4
"""A value so many deviations off leaves rounding errors behind when the window lets it go."""


class ZScore:
    """Fires when hold_samples in a row lie further than `fire` standard deviations from the rolling mean.

    z = (x - mean) / max(sd, min_std, min_std_fraction |mean|) over the last `window` samples before
    x (River's Rolling(Var)); the floor keeps a constant series from dividing by nothing. It clears
    after hold_samples in a row under `clear`. score = z' / (1 + z') with z' = |z| / fire, so firing
    begins at 0.5. Every sample is learnt, so a new level becomes normal within a window. State: the
    window (8 bytes a sample in a snapshot, about 60 in memory); cost: one River update and revert a
    sample. Source: the standard score; Welford's updates as in River.
    """

    def __init__(
        self,
        *,
        window: int,
        min_samples: int,
        fire: float,
        clear: float,
        hold_samples: int = 1,
        min_std: float = 1e-9,
        min_std_fraction: float = 0.0,
    ) -> None:
        self.window = window
        self.min_samples = min_samples
        self.fire = fire
        self.clear = clear
        self.hold_samples = hold_samples
        self.min_std = min_std
        self.min_std_fraction = min_std_fraction
        self.firing = False
        self._beyond = 0
        self._since = 0.0
        self._turn = 0
        self._rolling = utils.Rolling(stats.Var, window_size=window)

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        value = max(-LIMIT, min(LIMIT, value))
        var = self._rolling.obj
        seen = len(self._rolling.window)
        mean = var.mean.get()
        deviation = sqrt(max(var.get(), 0.0))
        self._learn(value)
        if seen < self.min_samples:
            return None
        scale = max(deviation, self.min_std, self.min_std_fraction * abs(mean))
        z = (value - mean) / scale
        return self._judge(at, value, mean, scale, z, seen)

    def _learn(self, value: float) -> None:
        """Take the value in; once a turn, and after a glitch, sum the window up afresh: rounding never piles up."""
        values = self._rolling.window
        leaving = values[0][0][0] if len(values) == self.window else value
        self._rolling.update(value)
        self._turn += 1
        var = self._rolling.obj
        is_glitch = abs(leaving - var.mean.get()) > GLITCH * max(sqrt(max(var.get(), 0.0)), self.min_std)
        if is_glitch or self._turn >= self.window:
            self._rolling = _rolling(self._values(), self.window)
            self._turn = 0

    def _values(self) -> list[float]:
        return [args[0] for args, _ in self._rolling.window]

    def _judge(self, at: float, value: float, mean: float, scale: float, z: float, seen: int) -> Finding | None:
        turned = abs(z) < self.clear if self.firing else abs(z) >= self.fire
        if not turned:
            self._beyond = 0
            return None
        if self._beyond == 0 and not self.firing:
            self._since = at
        self._beyond += 1
        if self._beyond < self.hold_samples:
            return None
        self._beyond = 0
        self.firing = not self.firing
        lower, upper = mean - self.fire * scale, mean + self.fire * scale
        if not self.firing:
            msg = f"{number(value)} is as expected again ({number(mean)} over {seen} samples)"
            return Finding("cleared", 0.0, mean, lower, upper, self._since, msg)
        ratio = min(abs(z) / self.fire, 1e6)
        msg = (
            f"{number(value)} is {number(abs(z))} standard deviations {'above' if z > 0 else 'below'} "
            f"the mean {number(mean)} of the last {seen} samples, bounds {number(lower)} to {number(upper)}, "
            f"since {clock_time(self._since)}"
        )
        return Finding("firing", ratio / (1.0 + ratio), mean, lower, upper, self._since, msg)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: the window as bytes and River's sums, to the last bit."""
        var = self._rolling.obj
        return {
            "window": array("d", self._values()).tobytes(),
            "n": var.mean.n,
            "mean": var.mean._mean,
            "s": var._S,
            "turn": self._turn,
            "firing": self.firing,
            "beyond": self._beyond,
            "since": self._since,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        values = array("d")
        values.frombytes(state["window"])
        self._rolling = _rolling(values, self.window)
        var = self._rolling.obj
        var.mean.n, var.mean._mean, var._S = state["n"], state["mean"], state["s"]
        self._turn = state["turn"]
        self.firing = state["firing"]
        self._beyond = state["beyond"]
        self._since = state["since"]


def _rolling(values: Iterable[float], window: int) -> "utils.Rolling[stats.Var]":
    rolling = utils.Rolling(stats.Var, window_size=window)
    for value in values:
        rolling.update(value)
    return rolling
