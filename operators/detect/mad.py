"""mad: a value far from the rolling median, in robust deviations, measured by the series' own tail."""

from array import array
from bisect import bisect_left, insort
from functools import lru_cache
from math import sqrt
from struct import Struct
from typing import Any, NamedTuple

from operators.detect.excursion import MOST_WAITING, Direction, Excursion, ExcursionSettings, Words
from operators.detect.finding import Finding, number
from operators.detect.tail import TailSettings

HUGE = 1e150
MAX_WINDOW = 200
LONG_FADING = 1e-4
LONG_PART = 0.5
_TO_SIGMA = 1.4826
_MEAN_TO_SIGMA = 1.2533
_STATE = Struct("<Bdd")
VERSION = 1


class MadSettings(NamedTuple):
    """What all series of one rule share; see mad_settings()."""

    judge: ExcursionSettings
    window: int
    min_samples: int
    scale_fading: float
    clip: float
    min_std: float
    min_std_fraction: float
    min_deviation: float


@lru_cache(maxsize=256)
def mad_settings(
    *,
    risk: float = 1e-7,
    window: int = 120,
    min_samples: int = 60,
    hold_samples: int = 3,
    level: float = 5.0,
    clear: float = 0.5,
    direction: Direction = "both",
    scale_fading: float = 0.001,
    clip: float = 10.0,
    min_std: float = 1e-9,
    min_std_fraction: float = 0.001,
    min_deviation: float = 0.0,
) -> MadSettings:
    """Settings of Mad, one object for equal arguments.

    risk: expected false firings per sample. window, min_samples, hold_samples: samples. level, clip:
    robust deviations. clear: part of the bound. scale_fading: weight of a new sample in S. min_std,
    min_deviation: units of the metric; min_std_fraction: part of the median.
    """
    if not 3 <= window <= MAX_WINDOW:
        raise ValueError(f"mad: window is {window}, expected 3 to {MAX_WINDOW} samples")
    if not 1 <= min_samples <= window:
        raise ValueError(f"mad: min_samples is {min_samples}, expected 1 to the window of {window}")
    judge = ExcursionSettings(TailSettings(level, risk), hold_samples, level / 2, clear, direction)
    return MadSettings(judge, window, min_samples, scale_fading, clip, min_std, min_std_fraction, min_deviation)


class Mad:
    """Fires when samples in a row lie further from the rolling median than the tail explains.

    Over the last `window` samples before x, with M their median and D the median of |x_i - M|:

        u = (x - M) / max(1.4826 D, S, sqrt(L) / 2, min_std, min_std_fraction |M|),
        S += c (1.2533 |x - M|' - S),   L += 0.0001 (|x - M|'^2 - L),

    |x - M|' clipped to `clip` scales, c = scale_fading (1 / n while n is smaller). S keeps the scale
    when more than half of the window is one value, L that of what idles for long and starts again.
    Excursion judges u. Every sample enters the window, so a new level is normal once it fills half of
    it. A series whose scale is not above min_std is not judged; values beyond ±1e150 count as that, NaN
    and infinity are refused. State: window in order of arrival and sorted (8 bytes a sample and copy:
    ≤ 1.8 KB in a snapshot, ≤ 4.3 KB in memory); cost: about 1 µs a sample (two binary searches and two
    short moves of memory for the window, a step or two of search for D). Source: Hampel 1974; Leys et al. 2013.

    >>> machine = Mad(mad_settings(window=21, min_samples=21, risk=1e-3))
    >>> quiet = [machine.update(5.0 * i, 50 + i % 3) for i in range(1000)]
    >>> [found.state if (found := machine.update(5000 + 5.0 * i, 90)) else None for i in range(4)]
    [None, None, 'firing', None]
    """

    __slots__ = ("_judge", "_long", "_next", "_ring", "_seen", "_settings", "_slow", "_sorted", "_split", "_waiting")

    def __init__(self, settings: MadSettings | None = None) -> None:
        self._settings = settings or _DEFAULT
        self._judge = Excursion(self._settings.judge)
        self._waiting = 0  # samples that the judge has not been told of, or BUSY
        self._ring = array("d")
        self._sorted = array("d")
        self._next = 0
        self._seen = 0.0
        self._split = 0  # a guess only: never changes a result
        self._slow = self._long = 0.0

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._judge.firing

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where firing begins."""
        return self._judge.score()

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if not -HUGE <= value <= HUGE:
            if value - value != 0.0:
                return None
            value = HUGE if value > 0.0 else -HUGE
        value += 0.0  # minus zero is zero, so that order is total
        (_, _, quiet, _, _), window, min_samples, fading, clip, min_std, fraction, min_deviation = self._settings
        ring, ordered = self._ring, self._sorted
        count = len(ordered)
        if not count:
            ring.append(value)
            ordered.append(value)
            return None
        near = clip if clip < quiet else quiet
        half, waiting, slow, long = count // 2, self._waiting, self._slow, self._long
        median = ordered[half] if count & 1 else 0.5 * (ordered[half - 1] + ordered[half])
        distance = value - median
        off = distance if distance > 0.0 else -distance
        floor = fraction * (median if median > 0.0 else -median)
        scale = LONG_PART * sqrt(long)
        scale = slow if slow > scale else scale
        scale = floor if floor > scale else scale
        scale = min_std if min_std > scale else scale
        change = 0
        if scale > min_std and 0 <= waiting < MOST_WAITING and off < scale * near:
            # D can only widen the scale: whatever it is, this sample is quiet and learnt as it is
            if count >= min_samples:
                self._waiting = waiting + 1
        else:
            _, deviation, self._split = median_and_mad(ordered, self._split)
            scale = max(scale, _TO_SIGMA * deviation)
            if count >= min_samples and scale > min_std:
                change = self._judge.update(at, 0.0 if off < min_deviation else distance / scale, waiting)
                self._waiting = self._judge.rest()
            if scale > min_std and self._seen + 1.0 > min_samples:
                off = min(off, clip * scale)
        seen = self._seen = self._seen + 1.0
        part = 1.0 / seen
        self._slow = slow + (fading if fading > part else part) * (_MEAN_TO_SIGMA * off - slow)
        self._long = long + (LONG_FADING if part < LONG_FADING else part) * (off * off - long)
        if count < window:
            ring.append(value)
        else:
            place = self._next
            del ordered[bisect_left(ordered, ring[place])]
            ring[place] = value
            place += 1
            self._next = place if place < count else 0
        insort(ordered, value)
        return self._finding(change, value, median, scale) if change else None

    def _finding(self, change: int, value: float, median: float, scale: float) -> Finding:
        words = Words(
            unit="robust deviations",
            center=f"the median {number(median)} of the last {len(self._ring)} samples",
            over="",
            cleared=f"as expected again (median {number(median)} of {self._settings.window} samples)",
        )
        return self._judge.finding(change, value, median, scale, words)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: the window in order of arrival, and two short byte strings."""
        self._waiting = self._judge.rest(self._waiting)
        ordered = self._ring[self._next :] + self._ring[: self._next]
        return {
            "mad": _STATE.pack(VERSION, self._seen, self._slow),
            "window": ordered.tobytes(),
            "long": self._long,
            "judge": self._judge.pack(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; of a window longer than this one the latest samples are kept."""
        version, self._seen, self._slow = _STATE.unpack(state["mad"])
        if version != VERSION:
            raise ValueError(f"mad: snapshot version {version}, expected {VERSION}; start afresh")
        self._long = state.get("long", 0.0)
        ring = array("d")
        ring.frombytes(state["window"])
        self._ring = ring[-self._settings.window :]
        self._sorted = array("d", sorted(self._ring))
        self._next = 0
        self._judge.unpack(state["judge"])
        self._waiting = self._judge.rest()


def median_and_mad(ordered: "array[float]", guess: int = 0) -> tuple[float, float, int]:
    """Median of sorted values, the median of the distances from it, and where the search for it ended.

    The distances to the left and right of the median are two sorted sequences; the half smallest of
    them all are the first `split` on the left and the rest on the right. The search walks from a
    guess (the split of the call before), so it takes a step or two as values come and go.

    >>> median_and_mad(array("d", [1.0, 2.0, 4.0, 8.0]))
    (3.0, 1.5, 1)
    """
    count = len(ordered)
    half = count // 2
    median = ordered[half] if count & 1 else 0.5 * (ordered[half - 1] + ordered[half])
    twice = median + median
    split = guess if guess < half else half
    while split and ordered[half - split] + ordered[2 * half - split] <= twice:
        split -= 1
    while split < half and ordered[half - 1 - split] + ordered[2 * half - 1 - split] > twice:
        split += 1
    above = ordered[2 * half - split] - median if 2 * half - split < count else float("inf")
    if split < half:
        above = min(above, median - ordered[half - 1 - split])
    if count & 1:
        return median, above, split
    below = ordered[2 * half - split - 1] - median if split < half else 0.0
    if split:
        below = max(below, median - ordered[half - split])
    return median, 0.5 * (below + above), split


_DEFAULT = mad_settings()
