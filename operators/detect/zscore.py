"""zscore: a value that breaks away from the mean of the samples before it."""

from array import array
from functools import lru_cache
from math import fsum, sqrt
from struct import Struct
from typing import Any, NamedTuple

from operators.detect.breakaway import QUIET, Breakaway, BreakawaySettings
from operators.detect.excursion import FIRED, Direction
from operators.detect.finding import Finding, clock_time, number

LIMIT = 1e100
"""Values beyond are taken as this: the square of a larger one is infinite."""

GLITCH = 1e4
"""A value so many deviations off leaves rounding errors behind when the window lets it go."""

STEP_FADING = 0.005
LONG_FADING = 1e-4
LONG_PART = 0.15
"""Part of the long deviation that the scale never falls under: what was idle for long and starts is no fault."""
_TO_SIGMA = 0.8862  # of the mean absolute difference of two normal numbers
_UNCLIPPED = 50.0  # samples that make the first scale
_STATE = Struct("<B5dH")
VERSION = 2


class ZScoreSettings(NamedTuple):
    """What all series of one rule share; see zscore_settings()."""

    judge: BreakawaySettings
    window: int
    min_samples: int
    clip: float
    min_std: float
    min_std_fraction: float
    min_deviation: float


@lru_cache(maxsize=256)
def zscore_settings(
    *,
    window: int = 300,
    min_samples: int = 150,
    fire: float = 6.0,
    clear: float = 3.0,
    hold_samples: int = 3,
    clip: float = 100.0,
    direction: Direction = "both",
    min_std: float = 1e-6,
    min_std_fraction: float = 0.01,
    min_deviation: float = 0.0,
) -> ZScoreSettings:
    """Settings of ZScore, one object for equal arguments.

    window, min_samples, hold_samples: samples. fire, clear, clip: standard deviations. min_std,
    min_deviation: units of the metric; min_std_fraction: part of the mean.
    """
    if not 3 <= window <= 65_535:
        raise ValueError(f"zscore: window is {window}, expected 3 to 65535 samples")
    if not 2 <= min_samples <= window:
        raise ValueError(f"zscore: min_samples is {min_samples}, expected 2 to the window of {window}")
    judge = BreakawaySettings(fire=fire, clear=clear, hold=hold_samples, direction=direction)
    return ZScoreSettings(judge, window, min_samples, clip, min_std, min_std_fraction, min_deviation)


class ZScore:
    """Fires when samples in a row break away from the rolling mean, further than any excursion before.

    With m and sd the mean and standard deviation of the last `window` samples before x, each clipped to
    ±clip s when it was learnt (as River's Var, updated with what comes and reverted of what leaves), and d
    and D the usual step from sample to sample, lately and in the long run (0.886 times the weighted
    mean of |x - x before|: that of noise is its standard deviation), L the long variance about m:

        s = max(sd, D, 0.15 sqrt(L), min_std, min_std_fraction |m|),   u = (x - m) / s,

    which Breakaway judges: at least `fire` for hold_samples in a row, 1.5 times as far as any
    excursion before, and still on its way (by max(d, D)). Every sample is learnt, so a new level becomes
    normal within a window; D and L keep the scale of what idles and starts again. Values beyond ±1e100
    count as that; NaN and infinity are refused. State: the window (8 bytes a sample: 2.5 KB in a
    snapshot, 3.2 KB in memory at 300); cost: about 1 µs a sample. Source: the standard score;
    Welford's updates, in the order of River's Var and equal to it to the last bit.

    >>> machine = ZScore(zscore_settings(window=50, min_samples=50))
    >>> quiet = [machine.update(5.0 * i, 50 + i % 3) for i in range(1000)]
    >>> found = [machine.update(5000 + 5.0 * i, 60.0 + 9 * i) for i in range(5)]
    >>> [each.state if each else None for each in found]
    [None, None, 'firing', None, None]
    """

    __slots__ = (
        "_before",
        "_judge",
        "_long",
        "_long_step",
        "_mean",
        "_next",
        "_seen",
        "_settings",
        "_squares",
        "_step",
        "_turn",
        "_window",
    )

    def __init__(self, settings: ZScoreSettings | None = None) -> None:
        self._settings = settings or _DEFAULT
        self._judge = Breakaway(self._settings.judge)
        self._window = array("d")
        self._next = 0
        self._turn = 0
        self._mean = self._squares = 0.0  # of the window: the mean, and the sum of squares about it
        self._seen = 0.0
        self._before = self._step = self._long_step = self._long = 0.0

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._judge.firing

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where firing begins."""
        return self._judge.score()

    @property
    def mean(self) -> float:
        """The mean of the window."""
        return self._mean

    @property
    def deviation(self) -> float:
        """The standard deviation of the window."""
        return sqrt(self._squares / (len(self._window) - 1)) if self._squares > 0.0 else 0.0

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if value - value != 0.0:
            return None
        if not -LIMIT <= value <= LIMIT:
            value = LIMIT if value > 0.0 else -LIMIT
        _, size, min_samples, clip, min_std, fraction, min_deviation = self._settings
        mean, squares, long_step, window = self._mean, self._squares, self._long_step, self._window
        count = len(window)
        long, seen = self._long, self._seen + 1.0
        scale = sqrt(squares / (count - 1)) if squares > 0.0 else 0.0
        scale = long_step if long_step > scale else scale
        floor = LONG_PART * sqrt(long)
        scale = floor if floor > scale else scale
        scale = min_std if min_std > scale else scale
        floor = fraction * (mean if mean > 0.0 else -mean)
        scale = floor if floor > scale else scale
        change, bound = 0, 0.0
        if count >= min_samples:
            off, judge = value - mean, self._judge
            u = 0.0 if -min_deviation < off < min_deviation else off / scale
            if judge.busy or not -QUIET < u < QUIET:
                bound = judge.bound
                change = judge.update(at, u, value, max(self._step, long_step))
        self._seen = seen
        if seen > _UNCLIPPED:
            limit = clip * scale
            low, high = mean - limit, mean + limit
            learnt = low if value < low else high if value > high else value
        else:
            learnt = value
        self._learn_step(value, seen, min_std)
        off, part = learnt - mean if count else 0.0, 1.0 / seen
        self._long = long + (LONG_FADING if part < LONG_FADING else part) * (off * off - long)
        if count < size:
            self._add(learnt)
        else:
            self._replace(learnt, count, min_std)
        return self._finding(change, value, mean, scale, bound) if change else None

    def _learn_step(self, value: float, seen: float, min_std: float) -> None:
        if seen > 1.0:
            step, long_step = self._step, self._long_step
            new, part = value - self._before, 1.0 / (seen - 1.0)
            new = _TO_SIGMA * (new if new > 0.0 else -new)
            if seen > _UNCLIPPED:
                limit = step if step > long_step else long_step
                limit = 5.0 * (limit if limit > min_std else min_std)
                new = limit if limit < new else new
            self._step = step + (STEP_FADING if part < STEP_FADING else part) * (new - step)
            self._long_step = long_step + (LONG_FADING if part < LONG_FADING else part) * (new - long_step)
        self._before = value

    def _add(self, value: float) -> None:
        self._window.append(value)
        off = value - self._mean
        self._mean += 1.0 / len(self._window) * off
        self._squares += off * (value - self._mean)

    def _replace(self, value: float, count: int, min_std: float) -> None:
        """Once a turn, and after a glitch, the window is summed up afresh: rounding never piles up."""
        window, place, before = self._window, self._next, self._mean
        leaving = window[place]
        window[place] = value
        place += 1
        self._next = place if place < count else 0
        coming = value - before
        between = before + 1.0 / (count + 1) * coming
        gone = leaving - between
        mean = between - 1.0 / count * gone
        off = leaving - mean
        squares = self._squares + coming * (value - between) - gone * off
        self._mean, self._squares = mean, squares
        turn = self._turn = self._turn + 1
        floor = sqrt(squares / (count - 1)) if squares > 0.0 else 0.0
        limit = GLITCH * (floor if floor > min_std else min_std)
        if turn >= count or not -limit <= off <= limit:
            self._sum_up()

    def _sum_up(self) -> None:
        window = self._window
        self._mean = mean = fsum(window) / len(window)
        self._squares = fsum([(value - mean) ** 2 for value in window])
        self._turn = 0

    def _finding(self, change: int, value: float, mean: float, scale: float, bound: float) -> Finding:
        judge, seen = self._judge, len(self._window)
        lower, upper = mean - bound * scale, mean + bound * scale
        if change != FIRED:
            msg = f"{number(value)} is as expected again ({number(mean)} over {seen} samples)"
            return Finding("cleared", 0.0, mean, lower, upper, judge.since, msg)
        side = "above" if value > mean else "below"
        msg = (
            f"{number(value)} is {number(abs(value - mean) / scale)} standard deviations {side} the mean "
            f"{number(mean)} of the last {seen} samples and moving away, bounds {number(lower)} to "
            f"{number(upper)}, since {clock_time(judge.since)}"
        )
        return Finding("firing", judge.score(), mean, lower, upper, judge.since, msg, judge.held, bound)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: the window in order of arrival and two short byte strings, to the last bit."""
        ordered = self._window[self._next :] + self._window[: self._next]
        head = (self._seen, self._before, self._step, self._long_step, self._mean)
        return {
            "zscore": _STATE.pack(VERSION, *head, self._turn),
            "sum": self._squares,
            "long": self._long,
            "window": ordered.tobytes(),
            "judge": self._judge.pack(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; of a window longer than this one the latest samples are kept."""
        version, *numbers = _STATE.unpack(state["zscore"])
        if version != VERSION:
            raise ValueError(f"zscore: snapshot version {version}, expected {VERSION}; start afresh")
        self._seen, self._before, self._step, self._long_step, self._mean, self._turn = numbers
        window = array("d")
        window.frombytes(state["window"])
        self._window = window[-self._settings.window :]
        self._next = 0
        self._squares = state["sum"]
        self._long = state.get("long", 0.0)
        if len(self._window) < len(window):
            self._sum_up()
        self._judge.unpack(state["judge"])


_DEFAULT = zscore_settings()
