"""The views of record_surprise over many streams at once in NumPy; all streams share their timestamps."""

import numpy as np
from numpy.typing import NDArray

from operators.detect.views import DAY_S, HALF_HOUR_S, HOUR_S, WEEK_S

Floats = NDArray[np.float64]


class BatchMean:
    def __init__(self, width: int, streams: int) -> None:
        self.ring = np.zeros((width, streams))
        self.total = np.zeros(streams)
        self.count = 0

    def update(self, x: Floats) -> Floats:
        place = self.count % len(self.ring)
        self.total += x - self.ring[place]
        self.ring[place] = x
        self.count += 1
        if place == len(self.ring) - 1:
            self.total = self.ring.sum(axis=0)
        return self.total / min(self.count, len(self.ring))


class BatchResidual:
    def __init__(self, bins: int, streams: int) -> None:
        self.means = np.zeros((bins, streams))
        self.visits = [0] * bins

    def update(self, at_bin: int, x: Floats) -> Floats:
        residual = x - self.means[at_bin]
        seen = self.visits[at_bin]
        self.visits[at_bin] = seen + 1
        self.means[at_bin] += max(1.0 / (seen + 1), 0.3) * residual
        return residual if seen else np.zeros_like(x)


class BatchDrift:
    def __init__(self, streams: int) -> None:
        self.count = 0
        self.mean, self.variance, self.up, self.down = np.zeros((4, streams))

    def update(self, x: Floats) -> Floats:
        n = self.count
        self.count = n + 1
        if n == 0:
            self.mean = x.copy()
            return np.zeros_like(x)
        error = x - self.mean
        u = np.clip(error / (np.sqrt(self.variance) + 1e-9), -5.0, 5.0) if n > 20 else np.zeros_like(x)
        self.up = np.maximum(self.up + u - 0.5, 0.0)
        self.down = np.maximum(self.down - u - 0.5, 0.0)
        weight = 1.0 / (n + 1) if n < 721 else 0.0013853
        self.mean += weight * error
        self.variance = (1.0 - weight) * (self.variance + weight * error * error)
        return np.maximum(self.up, self.down)


class BatchDeviation:
    def __init__(self, width: int, streams: int) -> None:
        self.ring = np.zeros((width, streams))
        self.count = 0
        self.total, self.squares, self.mean, self.variance = np.zeros((4, streams))

    def update(self, x: Floats) -> Floats:
        n, width = self.count, len(self.ring)
        self.count = n + 1
        seen = min(n, width)
        z = np.zeros_like(x)
        if seen >= 10:
            mean = self.total / seen
            spread = np.sqrt(np.maximum(self.squares / seen - mean * mean, 0.0))
            z = (x - mean) / (spread + 0.03 * np.sqrt(self.variance) + 0.001 * np.abs(mean) + 1e-12)
        old = self.ring[n % width].copy()
        self.ring[n % width] = x
        if n % width == width - 1:
            self.total, self.squares = self.ring.sum(axis=0), (self.ring * self.ring).sum(axis=0)
        else:
            self.total += x - old
            self.squares += x * x - old * old
        if n == 0:
            self.mean = x.copy()
            return z
        weight = max(1.0 / (n + 1), 1e-4)
        error = x - self.mean
        self.mean += weight * error
        self.variance = (1.0 - weight) * (self.variance + weight * error * error)
        return z


class BatchViews:
    def __init__(self, streams: int) -> None:
        self.means = {
            name: BatchMean(width, streams) for name, width in (("log", 20), ("week", 20), ("day", 20), ("rest", 50))
        }
        self.lag = np.zeros((20, streams))
        self.week, self.hours, self.day = (BatchResidual(bins, streams) for bins in (336, 168, 48))
        self.drift, self.deviation = BatchDrift(streams), BatchDeviation(100, streams)
        self.log_before: Floats | None = None
        self.count = 0

    def update(self, at: float, x: Floats) -> Floats:
        log_x = np.copysign(np.log1p(np.abs(x)), x)
        place = self.count % 20
        change = x - self.lag[place] if self.count >= 20 else np.zeros_like(x)
        self.lag[place] = x
        self.count += 1
        week = self.week.update(int(at % WEEK_S / HALF_HOUR_S), x)
        day = self.day.update(int(at % DAY_S / HALF_HOUR_S), x)
        step = np.zeros_like(x) if self.log_before is None else np.abs(log_x - self.log_before)
        self.log_before = log_x
        mean = self.means
        hours = self.hours.update(int(at % WEEK_S / HOUR_S), x)
        rest, drift, deviation = mean["rest"].update(step), self.drift.update(x), self.deviation.update(log_x)
        smooth, week_mean, day_mean = mean["log"].update(log_x), mean["week"].update(week), mean["day"].update(day)
        return np.stack([x, log_x, smooth, change, week, week_mean, hours, day_mean, drift, rest, deviation])
