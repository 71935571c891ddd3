"""The eleven views of a series whose records record_surprise counts."""

from array import array
from math import log1p, sqrt
from struct import Struct
from typing import Any

from operators.detect.records import View

LARGEST = 1e100  # a value is clipped here, so that no square of it overflows
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
HALF_HOUR_S = 1800.0
HOUR_S = 3600.0

VIEWS = (
    View("the value", 2.0, 0.3, 50),
    View("its logarithm", 2.0, 0.3, 50),
    View("the logarithm's mean over 20 samples", 2.0, 0.3, 50),
    View("the change over 20 samples", 2.0, 0.3, 50),
    View("the difference to this half hour of the week", 2.0, 0.3, 50, slow=True),
    View("that difference's mean over 20 samples", 2.0, 0.3, 50, slow=True),
    View("the difference to this hour of the week", 1.0, 0.3, 50, slow=True),
    View("the mean difference to this half hour of the day over 20 samples", 1.0, 0.3, 50),
    View("the drift away from the mean", 2.0, 0.3, 50),
    View("the restlessness over 50 samples", 2.0, 0.3, 50),
    View("the deviation from the last 100 samples", 4.0, 1.0, 100),
)

SHORT, REST, LONG = 20, 50, 100  # samples in the rings
WEEK_BINS, HOUR_BINS, DAY_BINS = 336, 168, 48
COUNTED_VISITS = 4
SLOW = 0.0013853  # weight of a half-life of 500 samples

# The layout of the state, in numbers of 8 bytes: what every sample reads and writes lies together.
_NUMBERS = Struct("19d")
_ROW = Struct("4d")  # value, logarithm, week and day residual of one of the last SHORT samples
_LIMITS = Struct(f"{1 + 2 * len(VIEWS)}d")
_BIN, _BIN_MEANS, _MEAN = 1, 2, 12  # places among the numbers
_ROWS = 20
_RESTS = _ROWS + 4 * SHORT
_LONGS = _RESTS + REST
_BINS = _LONGS + LONG
_HOURS, _DAY = WEEK_BINS, WEEK_BINS + HOUR_BINS  # places among the bins, after those of the week
_COUNT = _DAY + DAY_BINS


class Views:
    """Turns samples into the numbers of VIEWS, in that order.

    Means over the last samples; changes; residuals of the bins of the week and the day (UTC), each with
    an exponentially weighted mean (weight 1/k at the k-th sample, at least 0.3); a two-sided CUSUM of
    the clipped deviation from a slow mean (half-life 500 samples, slack 0.5, clip 5); the mean absolute
    difference of the logarithm, and its deviation from the last 100 in their standard deviations:
    (x - mean) / (sd + 0.03 sd of the whole series + 0.001 |mean|). Sums are made afresh once a turn of
    their ring against drift. tests/support/plain_views.py says the same in small pieces.

    State: 7 KB, one array of which a sample touches 400 bytes, since memory and not arithmetic is what
    thousands of series in turn cost. Cost: about 2 µs.
    """

    __slots__ = ("_state", "_visits")

    def __init__(self) -> None:
        self._state = array("d", bytes(8 * (_BINS + _COUNT)))
        self._state[_BIN] = -1.0  # none yet
        self._visits = bytearray(_COUNT)

    @property
    def seen(self) -> int:
        """How many samples it has taken."""
        return int(self._state[0])

    @property
    def mean(self) -> float:
        """The slow mean of the value."""
        return self._state[_MEAN]

    def update(self, at: float, x: float, limits: "array[float]") -> tuple[float, ...] | None:
        """Take one sample (seconds since 1970, a finite value), give its views.

        limits: a number of samples, then the lowest and then the highest value of each view. None while
        fewer samples came before this one and all of its views are within.
        """
        if not -LARGEST < x < LARGEST:
            x = LARGEST if x > 0.0 else -LARGEST
        state = self._state
        (
            seen,
            half_hour,
            week_mean,
            hour_mean,
            day_mean,
            known,
            log_sum,
            week_sum,
            day_sum,
            rest_sum,
            log_before,
            variance,
            mean,
            up,
            down,
            long_sum,
            square_sum,
            log_mean,
            log_variance,
        ) = _NUMBERS.unpack_from(state)
        n = int(seen)
        log_x = log1p(x) if x >= 0.0 else -log1p(-x)
        if not n:
            log_before, mean, log_mean = log_x, x, log_x

        # residuals of the bins; those of the present time are among the numbers
        at_bin = int(at % WEEK_S / HALF_HOUR_S)
        if at_bin != half_hour:
            week_mean, hour_mean, day_mean, known = self._enter(at_bin)
        week, hour, day = x - week_mean, x - hour_mean, x - day_mean
        if known:
            week_mean += 0.3 * week
            hour_mean += 0.3 * hour
            day_mean += 0.3 * day
        else:
            weights, known = self._visit(at_bin)
            week_mean += weights[0] * week
            hour_mean += weights[1] * hour
            day_mean += weights[2] * day
            week, hour, day = (0.0 if w == 1.0 else r for w, r in zip(weights, (week, hour, day), strict=True))

        # the last 20 samples
        place = n % SHORT
        row = 32 * place + 8 * _ROWS
        x_then, log_then, week_then, day_then = _ROW.unpack_from(state, row)
        _ROW.pack_into(state, row, x, log_x, week, day)
        if place == SHORT - 1:
            log_sum, week_sum, day_sum = (sum(state[_ROWS + column : _RESTS : 4]) for column in (1, 2, 3))
        else:
            log_sum += log_x - log_then
            week_sum += week - week_then
            day_sum += day - day_then
        short = SHORT if n >= SHORT else n + 1
        change = x - x_then if n >= SHORT else 0.0

        # restlessness: the mean step of the last 50
        step = log_x - log_before
        if step < 0.0:
            step = -step
        place = n % REST + _RESTS
        rest_sum += step - state[place]
        state[place] = step
        if place == _LONGS - 1:
            rest_sum = sum(state[_RESTS:_LONGS])
        rest = rest_sum / (REST if n >= REST else n + 1)

        # drift
        error = x - mean
        u = 0.0
        if n > 20:
            u = error / (sqrt(variance) + 1e-9)
            u = 5.0 if u > 5.0 else -5.0 if u < -5.0 else u
        up = up + u - 0.5
        down = down - u - 0.5
        up = up if up > 0.0 else 0.0
        down = down if down > 0.0 else 0.0
        drift = up if up > down else down
        weight = 1.0 / (n + 1) if n < 721 else SLOW
        mean += weight * error
        variance = (1.0 - weight) * (variance + weight * error * error)

        # deviation from the last 100
        deviation = 0.0
        if n >= 10:
            seen = LONG if n > LONG else n
            usual = long_sum / seen
            spread = square_sum / seen - usual * usual
            floor = 0.03 * sqrt(log_variance) + 0.001 * (usual if usual > 0.0 else -usual) + 1e-12
            deviation = (log_x - usual) / ((sqrt(spread) if spread > 0.0 else 0.0) + floor)
        place = n % LONG + _LONGS
        leaving = state[place]
        state[place] = log_x
        if place == _BINS - 1:
            ring = state[_LONGS:_BINS]
            long_sum, square_sum = sum(ring), sum([y * y for y in ring])
        else:
            long_sum += log_x - leaving
            square_sum += log_x * log_x - leaving * leaving
        weight = 1.0 / (n + 1) if n < 10_000 else 1e-4
        error = log_x - log_mean
        log_mean += weight * error
        log_variance = (1.0 - weight) * (log_variance + weight * error * error)

        _NUMBERS.pack_into(
            state,
            0,
            n + 1,
            at_bin,
            week_mean,
            hour_mean,
            day_mean,
            known,
            log_sum,
            week_sum,
            day_sum,
            rest_sum,
            log_x,
            variance,
            mean,
            up,
            down,
            long_sum,
            square_sum,
            log_mean,
            log_variance,
        )
        log_short, week_short, day_short = log_sum / short, week_sum / short, day_sum / short
        due, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10 = (
            _LIMITS.unpack_from(limits)
        )
        if (
            n < due
            and l0 <= x <= h0
            and l1 <= log_x <= h1
            and l2 <= log_short <= h2
            and l3 <= change <= h3
            and l4 <= week <= h4
            and l5 <= week_short <= h5
            and l6 <= hour <= h6
            and l7 <= day_short <= h7
            and l8 <= drift <= h8
            and l9 <= rest <= h9
            and l10 <= deviation <= h10
        ):
            return None
        return (x, log_x, log_short, change, week, week_short, hour, day_short, drift, rest, deviation)

    def _enter(self, at_bin: int) -> tuple[float, float, float, float]:
        """The time has come to another half hour: put its bins among the numbers in place of those before.

        Gives their means, and 1 when all of them have been visited often, else 0.
        """
        state, visits = self._state, self._visits
        if state[_BIN] >= 0.0:
            for place, each in enumerate(_bins(int(state[_BIN])), _BIN_MEANS):
                state[_BINS + each] = state[place]
        bins = _bins(at_bin)
        week, hour, day = (state[_BINS + each] for each in bins)
        return week, hour, day, float(all(visits[each] >= COUNTED_VISITS for each in bins))

    def _visit(self, at_bin: int) -> tuple[list[float], float]:
        """Count a visit of these bins: the weights of the value in each, and 1 once all have been visited often."""
        visits, bins, weights = self._visits, _bins(at_bin), []
        for each in bins:
            seen = visits[each]
            visits[each] = min(seen + 1, COUNTED_VISITS)
            weights.append(max(1.0 / (seen + 1), 0.3))
        return weights, float(all(visits[each] >= COUNTED_VISITS for each in bins))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"numbers": self._state.tobytes(), "visits": bytes(self._visits)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; ValueError when it has another shape."""
        numbers, visits = array("d", state["numbers"]), bytearray(state["visits"])
        if (len(numbers), len(visits)) != (len(self._state), len(self._visits)):
            raise ValueError(
                f"views: {len(numbers)} numbers and {len(visits)} visits, "
                f"expected {len(self._state)} and {len(self._visits)}; start afresh"
            )
        self._state, self._visits = numbers, visits


def _bins(half_hour: int) -> tuple[int, int, int]:
    """The places of a half hour of the week among the bins: its own, its hour's, its half hour of the day's."""
    return half_hour, _HOURS + half_hour // 2, _DAY + half_hour % DAY_BINS
