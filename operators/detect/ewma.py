"""ewma: a value far from the exponentially weighted mean, measured by the series' own tail."""

from functools import lru_cache
from math import sqrt
from struct import Struct
from typing import Any, NamedTuple

from operators.detect.excursion import LEVEL_SAMPLES, MOST_WAITING, Direction, Excursion, ExcursionSettings, Words
from operators.detect.finding import Finding, number
from operators.detect.tail import TailSettings

HUGE = 1e150
_UNCLIPPED = 8.0  # samples that make the first scale
_STATE = Struct("<Bd3dd")
VERSION = 2


class EwmaSettings(NamedTuple):
    """What all series of one policy share; build it with ewma_settings()."""

    judge: ExcursionSettings
    fading: float
    scale_fading: float
    long_fading: float
    min_samples: int
    relearn: int
    clip: float
    scale_clip: float
    min_std: float
    min_std_fraction: float
    min_deviation: float


@lru_cache(maxsize=256)
def ewma_settings(
    *,
    risk: float = 1e-7,
    fading: float = 0.02,
    scale_fading: float = 0.001,
    long_fading: float = 0.0001,
    min_samples: int = 200,
    hold_samples: int = 3,
    relearn: int = 100,
    clip: float = 3.0,
    scale_clip: float = 10.0,
    level: float = 5.0,
    clear: float = 0.5,
    direction: Direction = "both",
    min_std: float = 1e-9,
    min_std_fraction: float = 0.001,
    min_deviation: float = 0.0,
    tail_shape: float = 4.0,
    tail_scale: float = 4.0,
    tail_memory: float = 1e6,
) -> EwmaSettings:
    """Settings of Ewma, one object for equal arguments.

    risk: expected false firings per sample. fading, scale_fading, long_fading: weight of a new
    sample in the mean, the variance and the long variance. relearn: samples in a row on one side
    after which their level is the normal one. clip, scale_clip, level: standard deviations (of what the mean
    and the variance learn; above which the tail counts peaks). min_std,
    min_deviation: units of the metric; min_std_fraction: part of the mean. tail_*: see TailSettings.
    """
    tail = TailSettings(level, risk, tail_shape, tail_scale, tail_memory)
    return EwmaSettings(
        ExcursionSettings(tail, hold_samples, level / 2, clear, direction),
        fading,
        scale_fading,
        long_fading,
        min_samples,
        relearn,
        clip,
        scale_clip,
        min_std,
        min_std_fraction,
        min_deviation,
    )


class Ewma:
    """Fires when samples in a row lie further from the exponentially weighted mean than the tail explains.

    With weights a, b, c (fading, scale_fading, long_fading; 1 / n while n is smaller), the deviation
    d = x - m before learning x, r = d clipped to ±clip s, q = d clipped to ±scale_clip s (from the 9th sample on):

        m += a r,   V += b (q² - V),   L += c (q² - L),
        s = max(sqrt(max(V, L)), min_std, min_std_fraction |m|),   u = d / s.

    Excursion judges u; V and L learn nothing from the hold-th sample in a row beyond 2.5 s on one side,
    so that a slow rise does not hide itself. Clipping keeps an outlier out of the mean; L keeps the
    scale after a pause in which nothing moved; after `relearn` samples in a row on one side their
    level (LEVEL_SAMPLES) becomes the mean, so a new level is reported once and then normal. A series
    whose scale is not above min_std (never varied, around zero) is not judged. Values beyond ±1e150
    count as that; NaN and infinity are refused. State: 11 numbers a series (≤ 170 bytes in a snapshot, ≤ 760
    in memory); cost: about 0.6 µs a sample. Source: Roberts 1959 (EWMA charts), Finch 2009
    (incremental weighted mean and variance, as River's EWMean and EWVar), clipped updates after
    Huber 1964, and the tail of PeakTail.

    >>> machine = Ewma(ewma_settings(min_samples=50, risk=1e-4))
    >>> quiet = [machine.update(5.0 * i, 50 + i % 3) for i in range(1000)]
    >>> [found.state if (found := machine.update(5000 + 5.0 * i, 90)) else None for i in range(4)]
    [None, None, 'firing', None]
    """

    __slots__ = ("_judge", "_long", "_mean", "_n", "_run_mean", "_settings", "_var", "_waiting")

    def __init__(self, settings: EwmaSettings | None = None) -> None:
        self._settings = settings or _DEFAULT
        self._judge = Excursion(self._settings.judge)
        self._waiting = 0  # samples that the judge has not been told of, or BUSY
        self._n = 0.0
        self._mean = self._var = self._long = self._run_mean = 0.0

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._judge.firing

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where firing begins."""
        return self._judge.score()

    @property
    def scale(self) -> float:
        """The standard deviation that the next sample is measured by."""
        settings, mean = self._settings, self._mean
        scale = sqrt(self._var if self._var > self._long else self._long)
        floor = settings.min_std_fraction * (mean if mean > 0.0 else -mean)
        if scale < floor:
            scale = floor
        return scale if scale > settings.min_std else settings.min_std

    @property
    def bound(self) -> float:
        """The deviation, in scales, that fires; while it fires that which did."""
        self._waiting = self._judge.rest(self._waiting)
        return self._judge.bound if self._judge.firing else self._judge.tail.bound()

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if not -HUGE <= value <= HUGE:
            if value - value != 0.0:
                return None
            value = HUGE if value > 0.0 else -HUGE
        judging, fading, scale_fading, long_fading, min_samples, _, clip, scale_clip, min_std, fraction, close = (
            self._settings
        )
        _, hold, quiet, _, _ = judging
        mean, var, long, waiting = self._mean, self._var, self._long, self._waiting
        scale = sqrt(var if var > long else long)
        floor = fraction * (mean if mean > 0.0 else -mean)
        scale = floor if scale < floor else scale
        is_known = scale > min_std
        scale = scale if is_known else min_std
        deviation = value - mean
        change, n = 0, self._n
        if is_known and n >= min_samples:
            u = 0.0 if -close < deviation < close else deviation / scale
            if 0 <= waiting < MOST_WAITING and -quiet < u < quiet:
                self._waiting = waiting + 1
            else:
                change = self._judge.update(at, u, waiting)
                self._waiting = waiting = self._judge.rest()
        n = self._n = n + 1.0
        if n == 1.0:
            self._mean = value
            return None
        is_clipped = is_known and n > _UNCLIPPED
        length = self._judge.run_length if waiting < 0 else 0
        if length < hold:
            square = deviation * deviation
            if is_clipped:
                limit = scale_clip * scale
                limit *= limit
                square = limit if square > limit else square
            part = 1.0 / (n - 1.0)
            self._var = var + (scale_fading if scale_fading > part else part) * (square - var)
            self._long = long + (long_fading if long_fading > part else part) * (square - long)
        if is_clipped:
            limit = clip * scale
            deviation = limit if deviation > limit else -limit if deviation < -limit else deviation
        part = 1.0 / n
        self._mean = mean + (fading if fading > part else part) * deviation
        if length:
            self._level(value, length)
        return self._finding(change, value, mean, scale) if change else None

    def _level(self, value: float, length: int) -> None:
        """The mean of the run so far; once it has gone on for long, that is the normal one."""
        self._run_mean += (value - self._run_mean) / min(length, LEVEL_SAMPLES)
        if length >= self._settings.relearn:
            self._mean = self._run_mean
            self._judge.relearnt()
            self._waiting = self._judge.rest()

    def _finding(self, change: int, value: float, mean: float, scale: float) -> Finding:
        words = Words(
            unit="standard deviations",
            center=f"the weighted mean {number(mean)}",
            over=f" from {self._n:.0f} samples",
            cleared=f"as expected again ({number(mean)}, deviation {number(scale)})",
        )
        return self._judge.finding(change, value, mean, scale, words)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: one short byte string."""
        self._waiting = self._judge.rest(self._waiting)
        head = _STATE.pack(VERSION, self._n, self._mean, self._var, self._long, self._run_mean)
        return {"ewma": head + self._judge.pack()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        version, *numbers = _STATE.unpack_from(state["ewma"])
        if version != VERSION:
            raise ValueError(f"ewma: snapshot version {version}, expected {VERSION}; start afresh")
        self._n, self._mean, self._var, self._long, self._run_mean = numbers
        self._judge.unpack(state["ewma"][_STATE.size :])
        self._waiting = self._judge.rest()


_DEFAULT = ewma_settings()
