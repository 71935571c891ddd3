"""seasonal: a value far from what this hour of the week brought before, measured by the series' own tail."""

from array import array
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from operators.detect.excursion import MOST_WAITING, Direction, Excursion, ExcursionSettings, Words
from operators.detect.finding import Finding, number
from operators.detect.tail import TailSettings

HUGE = 1e30  # what a float32 of the profile can square in peace
HOURS = 168
_MEAN_TO_SIGMA = 1.2533
_MAX_WEEKS = 255
_UNCLIPPED = 8.0  # samples that make the first scale
_LONG_FADING = 1e-4
_STATE = Struct("<Bq8d")
VERSION = 1


class SeasonalSettings(NamedTuple):
    """What all series of one rule share; see seasonal_settings()."""

    judge: ExcursionSettings
    fading: float
    min_weeks: int
    clip: float
    jump: int
    min_std: float
    min_std_fraction: float
    min_deviation: float


@lru_cache(maxsize=256)
def seasonal_settings(
    *,
    risk: float = 1e-7,
    fading: float = 0.25,
    min_weeks: int = 2,
    hold_samples: int = 3,
    level: float = 5.0,
    clear: float = 0.5,
    direction: Direction = "both",
    clip: float = 5.0,
    jump: int = 2,
    min_std: float = 1e-9,
    min_std_fraction: float = 0.001,
    min_deviation: float = 0.0,
) -> SeasonalSettings:
    """Settings of Seasonal, one object for equal arguments.

    risk: expected false firings per sample. fading: weight of a new week. level, clip: deviations.
    jump: hours. clear: part of the bound. min_std, min_deviation: units of the metric;
    min_std_fraction: part of the mean.
    """
    if not 2 <= min_weeks <= _MAX_WEEKS:
        raise ValueError(f"seasonal: min_weeks is {min_weeks}, expected 2 to {_MAX_WEEKS}")
    judge = ExcursionSettings(TailSettings(level, risk), hold_samples, level / 2, clear, direction)
    return SeasonalSettings(judge, fading, min_weeks, clip, jump, min_std, min_std_fraction, min_deviation)


class Seasonal:
    """Fires when samples in a row lie further from the profile of their hour of the week than the tail explains.

    For each of 168 hours (UTC) the profile holds m, the mean, and a, the mean absolute deviation. An
    hour that ends, with mean h and mean distance d = |x - m| of its samples, is folded in with weight
    w = max(fading, 1 / (weeks + 1)): m += w (h - m), a += w (d - a), both clipped to `clip` scales
    once the hour is known; what an hour learns of one sample is clipped to 30 mean distances from the
    long mean. With A the weighted mean of all hours' d,

        u = (x - m) / max(1.2533 max(a, A), min_std, min_std_fraction |m|).

    Excursion judges u, in hours that `min_weeks` weeks (at least 2) have been folded into. A sample
    of an hour gone by is not taken in; one more than `jump` hours back is a clock set back, and the
    hour begins anew. Values beyond ±1e30 count as that; NaN and infinity are refused. State: two
    float32 and one byte an hour (1.6 KB in a snapshot, 2.7 KB in memory); cost: about 0.5 µs a sample.
    Source: seasonal-mean residuals (Holt 1957, Winters 1960, without trend), hour-of-week profiles.

    >>> machine = Seasonal(seasonal_settings(risk=1e-2))
    >>> def day(hour: int) -> float:
    ...     return 10.0 * (hour % 24 < 12) + hour % 2
    >>> quiet = [machine.update(3600.0 * i, day(i)) for i in range(168 * 4)]
    >>> [found.state if (found := machine.update(3600.0 * i, 99.0)) else None for i in range(672, 676)]
    [None, None, 'firing', None]
    """

    __slots__ = (
        "_count",
        "_deviations",
        "_distance",
        "_far",
        "_hour",
        "_judge",
        "_known",
        "_mean",
        "_means",
        "_overall",
        "_scale",
        "_seen",
        "_settings",
        "_slot_mean",
        "_usual",
        "_waiting",
        "_weeks",
    )

    def __init__(self, settings: SeasonalSettings | None = None) -> None:
        self._settings = settings or _DEFAULT
        self._judge = Excursion(self._settings.judge)
        self._waiting = 0  # samples that the judge has not been told of, or BUSY
        self._means = array("f", bytes(4 * HOURS))
        self._deviations = array("f", bytes(4 * HOURS))
        self._weeks = bytearray(HOURS)
        self._hour = -1
        self._count = self._mean = self._distance = 0.0  # of this hour: samples, their mean, their mean distance
        self._overall = (0.0, 0.0)  # hours folded, mean distance over them
        self._seen = self._usual = self._far = 0.0  # samples, their long mean and mean distance: what may be learnt
        self._known = 0  # weeks folded into this hour of the week; its mean and scale, which a turn of the hour sets
        self._slot_mean = self._scale = 0.0

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._judge.firing

    @property
    def score(self) -> float:
        """Of the latest sample judged, in [0, 1]: 0.5 where firing begins."""
        return self._judge.score()

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if not -HUGE <= value <= HUGE:
            if value - value != 0.0:
                return None
            value = HUGE if value > 0.0 else -HUGE
        hour = int(at // 3600.0)
        if hour != self._hour and not self._turn(hour):
            return None
        possible = self._possible(value)
        known, mean = self._known, self._slot_mean
        count = self._count = self._count + 1.0
        self._mean += (possible - self._mean) / count
        if not known:
            mean = self._mean
        off = possible - mean
        self._distance += ((off if off > 0.0 else -off) - self._distance) / count
        (_, _, quiet, _, _), _, min_weeks, _, _, min_std, _, close = self._settings
        scale = self._scale
        if known < min_weeks or scale <= min_std:
            return None
        distance, waiting = value - mean, self._waiting
        u = 0.0 if -close < distance < close else distance / scale
        if 0 <= waiting < MOST_WAITING and -quiet < u < quiet:
            self._waiting = waiting + 1
            return None
        change = self._judge.update(at, u, waiting)
        self._waiting = self._judge.rest()
        return self._finding(change, at, value, mean, scale) if change else None

    def _possible(self, value: float) -> float:
        """The value, clipped to what the series has shown: a reading of 1e30 must not teach any hour."""
        count, mean, distance = self._seen, self._usual, self._far
        off = value - mean
        if count >= _UNCLIPPED and distance > 0.0:
            limit = 30.0 * distance
            off = -limit if off < -limit else limit if off > limit else off
        self._seen = count = count + 1.0
        part = 1.0 / count
        weight = part if part > _LONG_FADING else _LONG_FADING
        self._usual = mean + weight * off
        if count > 1.0:
            self._far = distance + weight * ((off if off > 0.0 else -off) - distance)
        return mean + off

    def _scale_of(self, slot: int) -> float:
        deviation, overall = self._deviations[slot], self._overall[1]
        scale = _MEAN_TO_SIGMA * (deviation if deviation > overall else overall)
        settings = self._settings
        return max(scale, settings.min_std, settings.min_std_fraction * abs(self._means[slot]))

    def _turn(self, hour: int) -> bool:
        """Begin another hour; False when the sample is of an hour gone by."""
        if hour > self._hour:
            if self._count:
                self._fold(self._hour % HOURS)
        elif hour >= self._hour - self._settings.jump:
            return False
        self._hour = hour
        self._count = self._mean = self._distance = 0.0
        self._enter(hour % HOURS)
        return True

    def _enter(self, slot: int) -> None:
        """What is known of this hour of the week, which nothing changes until it ends."""
        self._known = self._weeks[slot]
        self._slot_mean = self._means[slot]
        self._scale = self._scale_of(slot)

    def _fold(self, slot: int) -> None:
        _, fading, min_weeks, clip, *_ = self._settings
        mean, distance = self._mean, self._distance
        weeks = self._weeks[slot]
        weight = max(fading, 1.0 / (weeks + 1))
        step = mean - self._means[slot]
        if weeks >= min_weeks:
            limit = clip * self._scale_of(slot)
            if limit > 0.0:
                step = max(-limit, min(limit, step))
                distance = min(distance, limit)
        self._means[slot] += weight * step
        self._deviations[slot] += weight * (distance - self._deviations[slot])
        self._weeks[slot] = min(weeks + 1, _MAX_WEEKS)
        hours = min(self._overall[0] + 1.0, HOURS / fading)
        self._overall = (hours, self._overall[1] + (distance - self._overall[1]) / hours)

    def _finding(self, change: int, at: float, value: float, mean: float, scale: float) -> Finding:
        weeks = self._weeks[int(at // 3600.0) % HOURS]
        words = Words(
            unit="deviations",
            center=f"{number(mean)}, usual for this hour of the week (over {weeks} weeks)",
            over="",
            cleared=f"usual again for this hour of the week ({number(mean)})",
        )
        return self._judge.finding(change, value, mean, scale, words)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: the profile as bytes and two short byte strings."""
        self._waiting = self._judge.rest(self._waiting)
        now, usual = (self._count, self._mean, self._distance), (self._seen, self._usual, self._far)
        return {
            "seasonal": _STATE.pack(VERSION, self._hour, *now, *self._overall, *usual),
            "profile": self._means.tobytes() + self._deviations.tobytes() + bytes(self._weeks),
            "judge": self._judge.pack(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        version, self._hour, *numbers = _STATE.unpack(state["seasonal"])
        if version != VERSION:
            raise ValueError(f"seasonal: snapshot version {version}, expected {VERSION}; start afresh")
        profile = state["profile"]
        self._means, self._deviations = array("f"), array("f")
        self._means.frombytes(profile[: 4 * HOURS])
        self._deviations.frombytes(profile[4 * HOURS : 8 * HOURS])
        self._weeks = bytearray(profile[8 * HOURS :])
        self._count, self._mean, self._distance = numbers[:3]
        self._overall = (numbers[3], numbers[4])
        self._seen, self._usual, self._far = numbers[5:]
        self._enter(self._hour % HOURS)
        self._judge.unpack(state["judge"])
        self._waiting = self._judge.rest()


_DEFAULT = seasonal_settings()
