"""excursion: when deviations on one side, held for some samples, are more than a series' own tail explains."""

from struct import Struct
from typing import Literal, NamedTuple

from operators.detect.finding import Finding, clock_time, number
from operators.detect.tail import PeakTail, TailSettings

Direction = Literal["both", "up", "down"]

LEVEL_SAMPLES = 20
"""The level of a run is the mean of about its latest so many samples: it may still be rising."""

FIRED = 1
CLEARED = -1

BUSY = -1
"""Stands for a number of samples waiting where none may wait."""

MOST_WAITING = 200  # what is shared by all: Python keeps the integers up to 256 once
_HEAD = Struct("<B6d?3H")
VERSION = 2


class ExcursionSettings(NamedTuple):
    """How deviations are judged: units are those of the scale that the deviation was divided by.

    hold: samples in a row, all on one side, that make a firing or a clearing. quiet: deviations
    under it end an excursion. clear: part of the bound under which a firing series clears.
    """

    tail: TailSettings = TailSettings()
    hold: int = 3
    quiet: float = 2.5
    clear: float = 0.5
    direction: Direction = "both"


class Words(NamedTuple):
    """How a detector puts a finding: its unit, its center, over what it reckoned, and what it says when it clears."""

    unit: str
    center: str
    over: str
    cleared: str


class Excursion:
    """Judges scaled deviations u of one series: fires, clears, and learns the tail of what it saw.

    v = min |u| over the last `hold` samples when all lie on one side beyond `quiet`, else 0. It fires
    when v reaches the bound of the series' PeakTail and clears after `hold` samples in a row with
    |u| < max(quiet, clear * bound). The highest v of an excursion becomes a peak of the tail.
    score = r / (1 + r) with r = v / bound. While nothing goes on a detector keeps out of it: it counts
    samples with |u| < quiet itself, at most MOST_WAITING of them, and hands them in with the next that
    is not, or to rest(). State: about 75 bytes in a snapshot, 350 in memory; cost: two comparisons a
    sample while nothing happens.
    """

    __slots__ = ("_calm", "_peak", "_run", "bound", "firing", "run_length", "settings", "since", "tail")

    def __init__(self, settings: ExcursionSettings) -> None:
        self.settings = settings
        self.tail = PeakTail(settings.tail)
        self.firing = False
        self.since = 0.0
        self.bound = 0.0
        self.run_length = 0
        self._peak = 0.0
        self._calm = 0
        self._run: tuple[float, ...] = ()

    def update(self, at: float, u: float, waiting: int = 0) -> int:
        """Take one deviation (seconds since 1970, deviation / scale): FIRED, CLEARED or 0; and those that waited."""
        self.tail.count(waiting + 1 if waiting > 0 else 1)
        quiet = self.settings.quiet
        if -quiet < u < quiet:
            if self._run:
                self._end()
            return self._calmer() if self.firing else 0
        return self._beyond(at, u)

    def rest(self, waiting: int = 0) -> int:
        """Take in those that waited; gives 0 from where the next may wait, or BUSY: in an excursion, or firing."""
        if waiting > 0:
            self.tail.count(waiting)
        return BUSY if self.firing or self._run else 0

    def score(self) -> float:
        """Of the latest sample: 0 when quiet, 0.5 where firing begins, below 1."""
        held = self._held()
        if held <= 0.0:
            return 0.0
        ratio = held / (self.bound if self.firing else self.tail.bound())
        return ratio / (1.0 + ratio)

    def _beyond(self, at: float, u: float) -> int:
        if self._run and (self._run[-1] > 0.0) != (u > 0.0):
            self._end()
        hold = self.settings.hold
        if not self._run and not self.firing:
            self.since = at
        self._run = (*self._run[-hold + 1 :], u) if hold > 1 else (u,)
        self.run_length += 1
        if self.firing:
            self._peak = max(self._peak, self._held())
            if abs(u) < self.settings.clear * self.bound or not self._is_watched(u):
                return self._calmer()
            self._calm = 0
            return 0
        return self._rise() if self._is_watched(u) else 0

    def _is_watched(self, u: float) -> bool:
        direction = self.settings.direction
        return direction == "both" or (u > 0.0) == (direction == "up")

    def _rise(self) -> int:
        held = self._held()
        if held < self.settings.tail.level:
            return 0
        bound = self.tail.bound()
        self._peak = max(self._peak, held)
        if held < bound:
            return 0
        self.bound = bound
        self.firing = True
        self._calm = 0
        return FIRED

    def _held(self) -> float:
        if len(self._run) < self.settings.hold or not self._is_watched(self._run[-1]):
            return 0.0
        return min(abs(u) for u in self._run)

    def _calmer(self) -> int:
        self._calm += 1
        if self._calm < self.settings.hold:
            return 0
        self.firing = False
        self._calm = 0
        return CLEARED

    def _end(self) -> None:
        if self._peak > 0.0:
            self.tail.add(self._peak)
            self._peak = 0.0
        self._run = ()
        self.run_length = 0

    def relearnt(self) -> None:
        """The run's level has become the normal one: the excursion ends here."""
        self._end()

    def finding(self, change: int, value: float, center: float, scale: float, words: Words) -> Finding:
        """What a change says: value, center and bounds as numbers and in the detector's words."""
        reach = self.bound * scale
        lower, upper = center - reach, center + reach
        if change != FIRED:
            msg = f"{number(value)} is {words.cleared}"
            return Finding("cleared", 0.0, center, lower, upper, self.since, msg)
        msg = (
            f"{number(value)} is {number(abs(value - center) / scale)} {words.unit} "
            f"{'above' if value > center else 'below'} {words.center}, bounds {number(lower)} to "
            f"{number(upper)}{words.over}, since {clock_time(self.since)}"
        )
        return Finding("firing", self.score(), center, lower, upper, self.since, msg, self._held(), self.bound)

    def pack(self) -> bytes:
        """The state as bytes."""
        tail = self.tail
        head = _HEAD.pack(
            VERSION,
            tail.samples,
            tail.peaks,
            tail.excess,
            self.since,
            self.bound,
            self._peak,
            self.firing,
            self._calm,
            min(self.run_length, 65535),
            len(self._run),
        )
        return head + Struct(f"<{len(self._run)}d").pack(*self._run)

    def unpack(self, state: bytes) -> None:
        """Take over packed state; a number of samples to hold that policy has changed starts the run anew."""
        version, *numbers = _HEAD.unpack_from(state)
        if version != VERSION:
            raise ValueError(f"excursion: snapshot version {version}, expected {VERSION}; start afresh")
        tail = self.tail
        tail.samples, tail.peaks, tail.excess, self.since, self.bound, self._peak = numbers[:6]
        self.firing, self._calm, self.run_length, length = numbers[6:]
        self._run = Struct(f"<{length}d").unpack_from(state, _HEAD.size)[-self.settings.hold :]
