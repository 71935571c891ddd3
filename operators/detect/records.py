"""Records: how surprising it is that a number leaves the range of all that came before it."""

from array import array
from collections.abc import Sequence
from math import log1p, log10
from typing import Any, NamedTuple

FIRST_COUNTED = 10  # records among the first samples say nothing


class View(NamedTuple):
    """One number watched for records: its weight, the excess (in ranges) worth half, samples before it counts."""

    name: str
    weight: float
    half: float
    warm: int


class Broken(NamedTuple):
    """The record that says most about the latest sample: which view, its value, and the range before."""

    share: float
    view: int
    value: float
    low: float
    high: float


class Records:
    """The weighted surprise of the records that one sample sets in several views.

    A record beyond the range r by e, after N samples with k records, is worth
    w q / (q + half) s^2 with q = e / r, s = min(log10((N + 2) / (k + 1)) / 3, 4/3): far beyond, and rare.
    That is bounded, and ranks; `size`, the weighted mean of ln(1 + q / half), is not, and tells how far.
    The range is that of the current epoch and the one before; epochs double from first_epoch to
    max_epoch samples, so that the rate of records keeps falling as in an endless history, and yet
    what happened half a history ago is forgotten. State: four bounds and two counts a view; cost: one
    comparison a view and sample, more only where a record falls.
    """

    def __init__(self, views: Sequence[View], *, first_epoch: int = 4000, max_epoch: int = 1_024_000) -> None:
        count = len(views)
        self._total = sum(view.weight for view in views)
        self._views = tuple(views)
        self._first_epoch = first_epoch
        self._max_epoch = max_epoch
        self._low = [0.0] * count
        self._high = [0.0] * count
        self._low_before = [float("inf")] * count
        self._high_before = [float("-inf")] * count
        self._records = [0] * count
        self._records_before = [0] * count
        self._epoch = first_epoch
        self._epoch_before = 0
        self._in_epoch = 0
        self.seen = 0
        self.size = 0.0
        self.broken: Broken | None = None
        self.before = (0.0, 0.0)  # the first view's range before the latest record

    def update(self, values: Sequence[float]) -> float:
        """Take one sample's views, give their surprise (0 to 1.78); `size` and `broken` say why it is not 0."""
        self.broken = None
        self.size = 0.0
        seen = self.seen
        self.seen = seen + 1
        if seen == 0:
            self._low = list(values)
            self._high = list(values)
            return 0.0
        score = 0.0
        for x, low, high in zip(values, self._low, self._high, strict=True):
            if x > high or x < low:
                self.before = self.span(0)
                score = sum([self._leave(view, x) for view, x in enumerate(values)])
                self.size /= self._total
                break
        self._in_epoch += 1
        if self._in_epoch >= self._epoch:
            self._turn(values)
        return score / self._total

    def span(self, view: int) -> tuple[float, float]:
        """The lowest and highest value of a view that is remembered."""
        return min(self._low[view], self._low_before[view]), max(self._high[view], self._high_before[view])

    @property
    def history(self) -> int:
        """How many samples are remembered."""
        return self._in_epoch + self._epoch_before + (0 if self._epoch_before else 1)

    def _leave(self, view: int, x: float) -> float:
        """What a value is worth in one view; it widens the epoch's range."""
        if self._low[view] <= x <= self._high[view]:
            return 0.0
        low, high = self.span(view)
        worth = 0.0
        excess = x - high if x > high else low - x
        width = high - low
        if excess > 1e-6 * width and excess > 1e-12 * abs(x):
            if self.seen > self._views[view].warm:
                worth = self._worth(view, excess / width if width > 0.0 else 1.0)
                if worth > 0.0 and (self.broken is None or worth > self.broken.share):
                    self.broken = Broken(worth, view, x, low, high)
            if self.seen > FIRST_COUNTED:
                self._records[view] += 1
        self._low[view] = min(self._low[view], x)
        self._high[view] = max(self._high[view], x)
        return worth

    def _worth(self, view: int, beyond: float) -> float:
        records = self._records[view] + self._records_before[view]
        rarity = min(log10((self._in_epoch + self._epoch_before + 2.0) / (records + 1.0)) / 3.0, 4.0 / 3.0)
        _, weight, half, _ = self._views[view]
        self.size += weight * log1p(beyond / half)
        return weight * beyond / (beyond + half) * rarity * rarity if rarity > 0.0 else 0.0

    def _turn(self, values: Sequence[float]) -> None:
        """Begin the next epoch."""
        self._low_before, self._high_before = self._low, self._high
        self._low, self._high = list(values), list(values)
        self._records_before, self._records = self._records, [0] * len(values)
        self._epoch_before, self._in_epoch = self._epoch, 0
        self._epoch = min(2 * self._epoch, max(self._max_epoch, self._first_epoch))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        bounds = array("d", [*self._low, *self._high, *self._low_before, *self._high_before])
        return {
            "bounds": bounds.tobytes(),
            "records": (*self._records, *self._records_before),
            "epoch": (self._epoch, self._epoch_before, self._in_epoch, self.seen),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot with the same views; ValueError when it has others."""
        count = len(self._views)
        bounds = array("d", state["bounds"]).tolist()
        if len(bounds) != 4 * count:
            raise ValueError(f"records: {len(bounds) // 4} views in the snapshot, expected {count}")
        self._low, self._high, self._low_before, self._high_before = (
            bounds[place : place + count] for place in range(0, 4 * count, count)
        )
        self._records, self._records_before = list(state["records"][:count]), list(state["records"][count:])
        self._epoch, self._epoch_before, self._in_epoch, self.seen = state["epoch"]
        self.broken = None
