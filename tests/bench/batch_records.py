"""record_surprise over many streams at once in NumPy: the reference that carries the length of false_firings.

Same equations as operators/detect (views, records, tail), one array element a stream; all streams
share their timestamps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.detect.record_surprise import FILTER_SAMPLES
from operators.detect.score_tail import FLOOR, MONTH_S, START, ScoreTail
from operators.detect.views import VIEWS, WEEK_S
from tests.bench.batch_views import BatchViews, Floats


class BatchRecords:
    def __init__(self, streams: int, first_epoch: int = 4000, max_epoch: int = 1_024_000) -> None:
        shape = (len(VIEWS), streams)
        self.low, self.high = np.zeros(shape), np.zeros(shape)
        self.low_before, self.high_before = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.records, self.records_before = np.zeros(shape), np.zeros(shape)
        self.epoch, self.max_epoch, self.epoch_before, self.in_epoch, self.seen = first_epoch, max_epoch, 0, 0, 0
        self.weight, self.half, self.warm = (np.array([view[i] for view in VIEWS], float) for i in (1, 2, 3))
        self.slow, self.slow_known = np.array([view.slow for view in VIEWS]), False

    def update(self, values: Floats) -> Floats:
        score = np.zeros(values.shape[1])
        self.size = np.zeros(values.shape[1])
        self.seen += 1
        if self.seen == 1:
            self.low, self.high = values.copy(), values.copy()
            return score
        view, stream = np.nonzero((values > self.high) | (values < self.low))
        if len(view):
            worth, size = self._leave((view, stream), values[view, stream])
            np.add.at(score, stream, worth)
            np.add.at(self.size, stream, size)
            self.size /= self.weight.sum()
            np.minimum(self.low, values, out=self.low)
            np.maximum(self.high, values, out=self.high)
        self.in_epoch += 1
        if self.in_epoch >= self.epoch:
            self.low_before, self.high_before, self.records_before = self.low, self.high, self.records
            self.low, self.high, self.records = values.copy(), values.copy(), np.zeros_like(values)
            self.epoch_before, self.in_epoch, self.epoch = self.epoch, 0, min(2 * self.epoch, self.max_epoch)
        weighted: Floats = score / self.weight.sum()
        return weighted

    def _leave(self, place: Any, x: Floats) -> tuple[Floats, Floats]:
        view = place[0]
        low = np.minimum(self.low[place], self.low_before[place])
        high = np.maximum(self.high[place], self.high_before[place])
        excess, width = np.maximum(x - high, low - x), high - low
        is_record = (excess > 1e-6 * width) & (excess > 1e-12 * np.abs(x))
        beyond = np.where(width > 0.0, excess / np.where(width > 0.0, width, 1.0), 1.0)
        records = self.records[place] + self.records_before[place]
        rarity = np.clip(np.log10((self.in_epoch + self.epoch_before + 2.0) / (records + 1.0)) / 3.0, 0.0, 4.0 / 3.0)
        worth = self.weight[view] * beyond / (beyond + self.half[view]) * rarity**2
        if self.seen > 10:
            self.records[place] += is_record
        size = self.weight[view] * np.log1p(np.maximum(beyond, 0.0) / self.half[view])
        counts = is_record & (self.seen > self.warm[view])
        told = counts & (self.slow_known | ~self.slow[view])
        return np.where(counts, worth, 0.0), np.where(told, size, 0.0)


class BatchRecordSurprise:
    """Counts firings of many streams; parameters as those of RecordSurprise."""

    def __init__(
        self,
        streams: int,
        *,
        risk: float,
        min_size: float,
        min_samples: float,
        min_month: float,
        min_history_s: float,
    ) -> None:
        self.risk, self.min_samples, self.min_month = risk, min_samples, min_month
        self.min_size, self.min_history_s = min_size, min_history_s
        tail = ScoreTail(risk=risk, min_size=min_size, min_month=min_month)
        self.shape, self.min_stretch, self.cap = tail.shape, tail.min_stretch, tail.cap
        self.views, self.records = BatchViews(streams), BatchRecords(streams)
        self.largest = np.zeros(streams)
        self.peak, self.began = np.zeros(streams), np.zeros(streams)
        self.last_high = np.full(streams, -1e9)
        self.recent = np.zeros((FILTER_SAMPLES, streams))
        self.first_at = 0.0

    def update(self, at: float, x: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Take one sample of every stream, give the raw score before the filter and the streams that begin to fire."""
        seen = self.records.seen
        if seen == 0:
            self.first_at = at
        self.records.slow_known = at - self.first_at >= 2 * WEEK_S
        score = self.records.update(self.views.update(at, x))
        fired = self._fired(seen, at, score, np.flatnonzero(score > 0.0))
        self.recent[seen % FILTER_SAMPLES] = score
        return score, fired

    def _fired(self, seen: int, at: float, score: Floats, some: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(some) == 0:
            return some
        size, bound = self.records.size[some], self._bounds(seen, at, some)
        if seen >= START:
            learnt = np.minimum(size, self.cap * bound)
            self._learn(seen, some[learnt >= FLOOR], learnt[learnt >= FLOOR])
        some = some[(size >= bound) & (score[some] > self.recent[:, some].max(axis=0))]
        fired: NDArray[np.int64] = some[seen - self.last_high[some] > FILTER_SAMPLES]
        self.last_high[some] = seen
        return fired

    def _bounds(self, seen: int, at: float, some: NDArray[np.int64]) -> Floats:
        elapsed = at - self.first_at
        if seen < self.min_samples or elapsed < self.min_history_s:
            return np.full(len(some), np.inf)
        month = max(MONTH_S * seen / elapsed, self.min_month)
        ahead = np.log(1.0 + month / seen) / np.log(1.0 + (seen + 1) / 50.0)
        stretch = max((ahead / self.risk) ** (1.0 / self.shape), self.min_stretch)
        is_over = seen - self.began[some] >= FILTER_SAMPLES
        largest = np.maximum(self.largest[some], np.where(is_over, self.peak[some], 0.0))
        bound: Floats = np.maximum(largest * stretch, self.min_size)
        return bound

    def _learn(self, seen: int, some: NDArray[np.int64], size: Floats) -> None:
        same = (self.peak[some] > 0.0) & (seen - self.began[some] < FILTER_SAMPLES)
        within, new = some[same], some[~same]
        self.peak[within] = np.maximum(self.peak[within], size[same])
        self.largest[new] = np.maximum(self.largest[new], self.peak[new])
        self.peak[new], self.began[new] = size[~same], seen
