"""The views of record_surprise in small pieces: the slow reference of operators.detect.views."""

from array import array
from math import copysign, log1p, sqrt

from operators.detect.views import DAY_S, HALF_HOUR_S, HOUR_S, LARGEST, WEEK_S

RECORDED_BIN_VISITS = 4


class Mean:
    """The mean of the last `width` numbers, of fewer at the start; summed afresh once a turn against drift."""

    __slots__ = ("count", "place", "ring", "total")

    def __init__(self, width: int) -> None:
        self.ring = array("d", bytes(8 * width))
        self.place = 0
        self.count = 0
        self.total = 0.0

    def update(self, x: float) -> float:
        """Take a number, give the mean with it."""
        ring, place = self.ring, self.place
        self.total += x - ring[place]
        ring[place] = x
        place += 1
        if place == len(ring):
            place = 0
            self.total = sum(ring)
            self.count = len(ring)
        self.place = place
        return self.total / (self.count or place)


class Change:
    """The difference to the number `lag` before; 0 until there is one."""

    __slots__ = ("count", "place", "ring")

    def __init__(self, lag: int) -> None:
        self.ring = array("d", bytes(8 * lag))
        self.place = 0
        self.count = 0

    def update(self, x: float) -> float:
        """Take a number, give the difference."""
        ring, place = self.ring, self.place
        change = x - ring[place] if self.count else 0.0
        ring[place] = x
        place += 1
        if place == len(ring):
            place = 0
            self.count = 1
        self.place = place
        return change


class Residual:
    """The difference to what this part of the day or week brought before; 0 for a part not seen yet.

    Each bin of `bin_s` seconds of `period_s` keeps an exponentially weighted mean (weight 1/k at the
    k-th sample, at least 0.3).
    """

    __slots__ = ("means", "visits")
    period_s: float
    bin_s: float

    def __init__(self, bins: int) -> None:
        self.means = array("d", bytes(8 * bins))
        self.visits = bytearray(bins)

    def update(self, at_bin: int, x: float) -> float:
        """Take a number that falls into a bin, give the difference to the bin's mean before it."""
        means = self.means
        seen = self.visits[at_bin]
        residual = x - means[at_bin]
        if seen >= RECORDED_BIN_VISITS:
            means[at_bin] += 0.3 * residual
            return residual
        self.visits[at_bin] = seen + 1
        means[at_bin] += residual * max(1.0 / (seen + 1), 0.3)
        return residual if seen else 0.0


class Drift:
    """A two-sided CUSUM of the clipped deviation from a slow mean (half-life 500 samples, slack 0.5, clip 5)."""

    __slots__ = ("count", "down", "mean", "up", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.variance = self.up = self.down = 0.0

    def update(self, x: float) -> float:
        """Take a number, give the larger of both sums."""
        n = self.count
        self.count = n + 1
        if n == 0:
            self.mean = x
            return 0.0
        error = x - self.mean
        u = 0.0
        if n > 20:
            u = error / (sqrt(self.variance) + 1e-9)
            u = 5.0 if u > 5.0 else -5.0 if u < -5.0 else u
        up, down = self.up + u - 0.5, self.down - u - 0.5
        self.up = up = up if up > 0.0 else 0.0
        self.down = down = down if down > 0.0 else 0.0
        weight = 1.0 / (n + 1) if n < 721 else 0.0013853
        self.mean += weight * error
        self.variance = (1.0 - weight) * (self.variance + weight * error * error)
        return up if up > down else down


class Deviation:
    """The deviation from the last `width` numbers in their standard deviations, floored by the series' own.

    (x - mean) / (sd + 0.03 sd of the whole series + 0.001 |mean|); 0 for the first ten.
    """

    __slots__ = ("count", "mean", "ring", "squares", "total", "variance")

    def __init__(self, width: int) -> None:
        self.ring = array("d", bytes(8 * width))
        self.count = 0
        self.total = self.squares = self.mean = self.variance = 0.0

    def update(self, x: float) -> float:
        """Take a number, give its deviation from those before it."""
        ring, n = self.ring, self.count
        self.count = n + 1
        width = len(ring)
        seen = n if n < width else width
        z = 0.0
        if seen >= 10:
            mean = self.total / seen
            spread = self.squares / seen - mean * mean
            floor = 0.03 * sqrt(self.variance) + 0.001 * abs(mean) + 1e-12
            z = (x - mean) / ((sqrt(spread) if spread > 0.0 else 0.0) + floor)
        place = n % width
        old = ring[place]
        ring[place] = x
        if place == width - 1:
            self.total = sum(ring)
            self.squares = sum([y * y for y in ring])
        else:
            self.total += x - old
            self.squares += x * x - old * old
        if n == 0:
            self.mean = x
            return z
        weight = 1.0 / (n + 1) if n < 10_000 else 1e-4
        error = x - self.mean
        self.mean += weight * error
        self.variance = (1.0 - weight) * (self.variance + weight * error * error)
        return z


def signed_log(x: float) -> float:
    """log(1 + |x|) with the sign of x.

    >>> signed_log(-1.0) == -signed_log(1.0), signed_log(0.0)
    (True, 0.0)
    """
    return copysign(log1p(abs(x)), x)


class PlainViews:
    """What operators.detect.views.Views does, in pieces that can be read one by one."""

    def __init__(self) -> None:
        self._log_mean = Mean(20)
        self._change = Change(20)
        self._week = Residual(336)
        self._week_mean = Mean(20)
        self._week_hours = Residual(168)
        self._day = Residual(48)
        self._day_mean = Mean(20)
        self._drift = Drift()
        self._rest = Mean(50)
        self._deviation = Deviation(100)
        self._log_before: float | None = None

    def update(self, at: float, x: float) -> tuple[float, ...]:
        """Take one sample (seconds since 1970, a finite value), give its views."""
        if not -LARGEST < x < LARGEST:
            x = LARGEST if x > 0.0 else -LARGEST
        log_x = signed_log(x)
        in_week = at % WEEK_S
        week = self._week.update(int(in_week / HALF_HOUR_S), x)
        day = self._day.update(int(at % DAY_S / HALF_HOUR_S), x)
        step = 0.0 if self._log_before is None else abs(log_x - self._log_before)
        self._log_before = log_x
        return (
            x,
            log_x,
            self._log_mean.update(log_x),
            self._change.update(x),
            week,
            self._week_mean.update(week),
            self._week_hours.update(int(in_week / HOUR_S), x),
            self._day_mean.update(day),
            self._drift.update(x),
            self._rest.update(step),
            self._deviation.update(log_x),
        )

    @property
    def mean(self) -> float:
        """The slow mean of the value."""
        return self._drift.mean
