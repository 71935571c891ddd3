"""breakaway: deviations that are large, still growing, and larger than any before."""

from struct import Struct
from typing import NamedTuple

from operators.detect.excursion import CLEARED, FIRED, Direction

_HEAD = Struct("<B4d?2H")
VERSION = 1
QUIET = 2.5
LEARNT = 5.0
"""Excursions that were held above this raise the bound for those to come."""


class BreakawaySettings(NamedTuple):
    """How deviations u are judged, in standard deviations.

    fire: that many for `hold` samples in a row on one side. growth: and so many times the largest
    excursion before. spread: and the samples of the excursion so far (at most max_run) lie that many
    times the usual step from sample to sample apart: it is still on its way. clear: under it, for hold
    samples, it clears.
    """

    fire: float = 6.0
    clear: float = 3.0
    hold: int = 3
    growth: float = 1.5
    spread: float = 8.0
    max_run: int = 8
    direction: Direction = "both"


class Breakaway:
    """Judges one series: a level that jumps once and stays is a new level; what runs away is a fault.

    With v the least |u| of the last `hold` samples beyond 2.5 on one side, the bound is
    max(fire, growth * largest), largest being the highest v of the excursions before (each counts as
    at most four times the bound that it met, so one fault does not blind). It fires when v reaches the
    bound while the excursion is at most max_run samples old and spans `spread` usual steps. A sudden
    step spans none; noise spans few. While it is not busy, a |u| under 2.5 need not be told. State:
    about 45 bytes in a snapshot; cost: two comparisons a sample while nothing happens. Source: the
    record rule of score_tail.py, on held deviations.
    """

    __slots__ = (
        "_calm",
        "_high",
        "_largest",
        "_length",
        "_low",
        "_peak",
        "_run",
        "busy",
        "firing",
        "settings",
        "since",
    )

    def __init__(self, settings: BreakawaySettings) -> None:
        self.settings = settings
        self.firing = False
        self.busy = False  # in an excursion, or firing
        self.since = 0.0
        self._largest = 0.0
        self._peak = 0.0
        self._calm = 0
        self._length = 0
        self._low = self._high = 0.0  # of the values of this excursion
        self._run: tuple[float, ...] = ()

    @property
    def bound(self) -> float:
        """The deviation that fires, held."""
        return max(self.settings.fire, self.settings.growth * self._largest)

    @property
    def held(self) -> float:
        """The least of the last `hold` deviations of this excursion; 0 when it is shorter."""
        run = self._run
        if len(run) < self.settings.hold or not self._is_watched(run[-1]):
            return 0.0
        return min(run) if run[-1] > 0.0 else -max(run)

    def score(self) -> float:
        """Of the latest sample: 0 when quiet, 0.5 at the bound, below 1."""
        ratio = self.held / self.bound
        return ratio / (1.0 + ratio)

    def update(self, at: float, u: float, value: float, step: float) -> int:
        """Take a deviation u, the value it is of, and the series' usual step; FIRED, CLEARED or 0."""
        if -QUIET < u < QUIET:
            if self._run:
                self._end()
            change = self._calmer() if self.firing else 0
            self.busy = self.firing
            return change
        self.busy = True
        if self._run and (self._run[-1] > 0.0) != (u > 0.0):
            self._end()
        if not self._run:
            self._low = self._high = value
            if not self.firing:
                self.since = at
        self._low, self._high = min(self._low, value), max(self._high, value)
        self._run = (*self._run, u)[-self.settings.hold :]
        self._length = min(self._length + 1, 65_535)
        return self._judge(u, step)

    def _judge(self, u: float, step: float) -> int:
        held = self.held
        if held >= LEARNT:
            self._peak = max(self._peak, held)
        if self.firing:
            if abs(u) < self.settings.clear or not self._is_watched(u):
                return self._calmer()
            self._calm = 0
            return 0
        if held < self.bound or self._length > self.settings.max_run:
            return 0
        if self._high - self._low < self.settings.spread * step:
            return 0
        self.firing = True
        self._calm = 0
        return FIRED

    def _is_watched(self, u: float) -> bool:
        direction = self.settings.direction
        return direction == "both" or (u > 0.0) == (direction == "up")

    def _calmer(self) -> int:
        self._calm += 1
        if self._calm < self.settings.hold:
            return 0
        self.firing = False
        self._calm = 0
        return CLEARED

    def _end(self) -> None:
        if self._peak > 0.0:
            self._largest = max(self._largest, min(self._peak, 4.0 * self.bound))
            self._peak = 0.0
        self._run = ()
        self._length = 0

    def pack(self) -> bytes:
        """The state as bytes."""
        run = self._run
        head = _HEAD.pack(
            VERSION, self.since, self._largest, self._peak, self._low, self.firing, self._calm, self._length
        )
        return head + Struct(f"<{len(run) + 1}d").pack(self._high, *run)

    def unpack(self, state: bytes) -> None:
        """Take over packed state; of a longer run the latest samples are kept."""
        version, self.since, self._largest, self._peak, self._low, firing, self._calm, self._length = _HEAD.unpack_from(
            state
        )
        if version != VERSION:
            raise ValueError(f"breakaway: snapshot version {version}, expected {VERSION}; start afresh")
        self.firing = bool(firing)
        self._high, *run = Struct(f"<{(len(state) - _HEAD.size) // 8}d").unpack_from(state, _HEAD.size)
        self._run = tuple(run)[-self.settings.hold :]
        self.busy = self.firing or bool(self._run)
