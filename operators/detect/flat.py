"""flat: a sensor stuck at one value that used to vary."""

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from operators.detect.excursion import MOST_WAITING
from operators.detect.finding import Finding, clock_time, number
from operators.detect.tail import PeakTail, TailSettings

_STATE = Struct("<B10d?")
VERSION = 1
_MAX_STEP_S = 600.0


class FlatSettings(NamedTuple):
    """What all series of one rule share; see flat_settings()."""

    tail: TailSettings
    min_s: float
    warmup_s: float
    min_changes: int
    tolerance: float


@lru_cache(maxsize=256)
def flat_settings(
    *,
    risk: float = 1e-7,
    min_s: float = 1800.0,
    warmup_s: float = 172_800.0,
    min_changes: int = 100,
    tolerance: float = 0.0,
    level: int = 20,
    tail_scale: float = 60.0,
) -> FlatSettings:
    """Settings of Flat, one object for equal arguments.

    risk: expected false firings per sample. min_s, warmup_s: seconds. min_changes: runs. tolerance:
    unit of the metric. level, tail_scale: samples in a run.
    """
    return FlatSettings(
        TailSettings(float(level), risk, shape=3.0, scale=tail_scale), min_s, warmup_s, min_changes, tolerance
    )


class Flat:
    """Fires when a run of equal values is longer than the series' earlier runs explain.

    A run is the number k of samples in a row within `tolerance` of its first value. It fires when
    k >= max(level, bound) with bound from the PeakTail of earlier runs, when the run has lasted
    min_s seconds, and when the series has varied: min_changes runs ended within a history of at
    least warmup_s seconds (a step of more than 10 minutes counts as that, so a clock jump makes no
    history). It clears when the value moves. score = r / (1 + r), r = k / bound. Idle counters and
    coarse sensors have long runs and earn a long bound; a series that never varied is never judged.
    NaN and infinity are refused. State: 11 numbers a series (≤ 120 bytes in a snapshot, ≤ 700 in
    memory); cost: about 0.3 µs a sample. Source: stuck-sensor tests (Sharma, Golubchik and Govindan,
    Sensor Faults, ACM TOSN 2010), with a tail in place of a fixed length.

    >>> machine = Flat(flat_settings(warmup_s=0, min_s=0, min_changes=10, risk=1e-2))
    >>> quiet = [machine.update(5.0 * i, i % 7) for i in range(1000)]
    >>> [i for i in range(200) if machine.update(5000 + 5.0 * i, 3.5)]
    [19]
    """

    __slots__ = (
        "_at",
        "_changes",
        "_history",
        "_limit",
        "_run",
        "_settings",
        "_since",
        "_tail",
        "_value",
        "_waiting",
        "firing",
    )

    def __init__(self, settings: FlatSettings | None = None) -> None:
        self._settings = settings or _DEFAULT
        self._tail = PeakTail(self._settings.tail)
        self._waiting = 0  # samples that the tail has not been told of
        self.firing = False
        self._at = self._since = self._history = self._value = 0.0
        self._run = 0.0
        self._changes = 0.0
        self._limit = 0.0

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where the length of the run reaches its bound."""
        ratio = self._run / self._limit if self._limit else 0.0
        return ratio / (1.0 + ratio)

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if value - value != 0.0:
            return None
        step, run = at - self._at, self._run
        if run:
            self._history += 0.0 if step < 0.0 else step if step < _MAX_STEP_S else _MAX_STEP_S
        if step < 0.0 or step > _MAX_STEP_S:
            self._since += step if run else 0.0
        self._at = at
        (level, _, _, _, _), _, _, _, tolerance = self._settings
        waiting = self._waiting
        if waiting < MOST_WAITING:
            self._waiting = waiting + 1
        else:
            self._count(1)
        if not run or not -tolerance <= value - self._value <= tolerance:
            return self._move(at, value)
        self._run = run = run + 1.0
        if self.firing or run < level:
            return None
        if not self._limit:
            self._count()
            self._limit = self._tail.bound()
        return self._judge(at, value)

    def _count(self, more: int = 0) -> None:
        """Tell the tail of the samples that it has not been told of."""
        self._tail.count(self._waiting + more)
        self._waiting = 0

    def _move(self, at: float, value: float) -> Finding | None:
        finding = None
        if self.firing:
            self.firing = False
            msg = f"moves again: {number(value)} after {number(self._value)} for {number(at - self._since)} s"
            finding = Finding("cleared", 0.0, None, None, None, self._since, msg)
        if self._run:
            self._changes += 1.0
            if self._run > self._settings.tail.level:  # else it is no peak
                self._count()
                self._tail.add(self._run)
        self._value, self._run, self._since, self._limit = value, 1.0, at, 0.0
        return finding

    def _judge(self, at: float, value: float) -> Finding | None:
        _, min_s, warmup_s, min_changes, _ = self._settings
        if self._run < self._limit or at - self._since < min_s:
            return None
        if self._history < warmup_s or self._changes < min_changes:
            return None
        self.firing = True
        msg = (
            f"stuck at {number(value)} for {self._run:.0f} samples, at most {self._limit:.0f} are usual "
            f"({self._changes:.0f} changes before), since {clock_time(self._since)}"
        )
        return Finding("firing", self.score, None, None, None, self._since, msg, self._run, self._limit)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: one short byte string."""
        self._count()
        tail = self._tail
        numbers = (self._at, self._since, self._history, self._value, self._run, self._changes, self._limit)
        return {"flat": _STATE.pack(VERSION, *numbers, tail.samples, tail.peaks, tail.excess, self.firing)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        version, *numbers, firing = _STATE.unpack(state["flat"])
        if version != VERSION:
            raise ValueError(f"flat: snapshot version {version}, expected {VERSION}; start afresh")
        self._at, self._since, self._history, self._value, self._run, self._changes, self._limit = numbers[:7]
        self._tail.samples, self._tail.peaks, self._tail.excess = numbers[7:]
        self._waiting = 0
        self.firing = firing


_DEFAULT = flat_settings()
