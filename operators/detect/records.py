"""Records: how surprising it is that a number leaves the range of all that came before it."""

from array import array
from collections.abc import Sequence
from math import log1p, log10
from typing import Any, NamedTuple

FIRST_COUNTED = 10  # records among the first samples say nothing


class View(NamedTuple):
    """One number watched for records: its weight, the excess (in ranges) worth half, samples before it counts.

    slow: it compares with long ago, so that its records say nothing about size until the owner says so.
    """

    name: str
    weight: float
    half: float
    warm: int
    slow: bool = False


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
    That is bounded, and ranks; `size`, the weighted mean of ln(1 + q / half), is not, and tells how far;
    slow views count in it only once slow_known is set.
    The range is that of the current epoch and the one before; epochs double from first_epoch to
    max_epoch samples, so that the rate of records keeps falling as in an endless history, and yet
    what happened half a history ago is forgotten. `limits` tells which samples need not be given:
    those before number limits[0] (from 0) whose views all lie within the lowest values of the epoch,
    which follow, and the highest, which come last; pass_to() counts them. State: four bounds and two
    counts a view.
    """

    __slots__ = (
        "_before",
        "_epoch",
        "_epoch_before",
        "_first_epoch",
        "_in_epoch",
        "_max_epoch",
        "_records",
        "_records_before",
        "_total",
        "_views",
        "before",
        "broken",
        "limits",
        "seen",
        "size",
        "slow_known",
    )

    def __init__(self, views: Sequence[View], *, first_epoch: int = 4000, max_epoch: int = 1_024_000) -> None:
        count = len(views)
        self._total = sum(view.weight for view in views)
        self._views = tuple(views)
        self._first_epoch = first_epoch
        self._max_epoch = max_epoch
        self.limits = array("d", bytes(8 * (1 + 2 * count)))
        self._before = array("d", [float("inf")] * count + [float("-inf")] * count)  # bounds of the epoch before
        self._records = array("q", bytes(8 * count))
        self._records_before = array("q", bytes(8 * count))
        self._epoch = first_epoch
        self._epoch_before = 0
        self._in_epoch = 0
        self.seen = 0
        self.size = 0.0
        self.slow_known = False
        self.broken: Broken | None = None
        self.before = (0.0, 0.0)  # the first view's range before the latest record

    def update(self, values: Sequence[float]) -> float:
        """Take one sample's views, give their surprise (0 to 1.78); `size` and `broken` say why it is not 0."""
        self.broken = None
        self.size = 0.0
        seen = self.seen
        self.seen = seen + 1
        if seen == 0:
            self._begin(values)
            return 0.0
        score = 0.0
        if leaving := self._leaving(values):
            self.before = self.span(0)
            for view in leaving:
                score += self._leave(view, values[view])
            self.size /= self._total
        self._in_epoch += 1
        if self._in_epoch >= self._epoch:
            self._turn(values)
        return score / self._total

    def pass_to(self, seen: int) -> None:
        """Count samples that `limits` has let pass, up to so many in all."""
        self._in_epoch += seen - self.seen
        self.seen = seen

    def span(self, view: int) -> tuple[float, float]:
        """The lowest and highest value of a view that is remembered."""
        count = len(self._views)
        low, high = self.limits[1 + view], self.limits[1 + count + view]
        return min(low, self._before[view]), max(high, self._before[count + view])

    @property
    def history(self) -> int:
        """How many samples are remembered."""
        return self._in_epoch + self._epoch_before + (0 if self._epoch_before else 1)

    def _begin(self, values: Sequence[float]) -> None:
        """An epoch begins with this sample."""
        due = self.seen + self._epoch - self._in_epoch - 1
        self.limits = array("d", [due, *values, *values])

    def _leaving(self, values: Sequence[float]) -> list[int]:
        """The views that leave the epoch's range."""
        count, limits = len(values), self.limits.tolist()
        lows, highs = limits[1 : 1 + count], limits[1 + count :]
        return [view for view, x in enumerate(values) if not lows[view] <= x <= highs[view]]

    def _leave(self, view: int, x: float) -> float:
        """What a value beyond the epoch's range is worth in its view; it widens that range."""
        low, high = self.span(view)
        worth = 0.0
        excess = x - high if x > high else low - x
        width = high - low
        if excess > 1e-6 * width and excess > 1e-12 * abs(x):
            if self.seen > self._views[view].warm:
                worth = self._worth(view, excess / width if width > 0.0 else 1.0)
                is_told = self.slow_known or not self._views[view].slow
                if is_told and worth > 0.0 and (self.broken is None or worth > self.broken.share):
                    self.broken = Broken(worth, view, x, low, high)
            if self.seen > FIRST_COUNTED:
                self._records[view] += 1
        limits, at_low, at_high = self.limits, 1 + view, 1 + len(self._views) + view
        if x < limits[at_low]:
            limits[at_low] = x
        elif x > limits[at_high]:
            limits[at_high] = x
        return worth

    def _worth(self, view: int, beyond: float) -> float:
        records = self._records[view] + self._records_before[view]
        rarity = min(log10((self._in_epoch + self._epoch_before + 2.0) / (records + 1.0)) / 3.0, 4.0 / 3.0)
        _, weight, half, _, slow = self._views[view]
        if self.slow_known or not slow:
            self.size += weight * log1p(beyond / half)
        return weight * beyond / (beyond + half) * rarity * rarity if rarity > 0.0 else 0.0

    def _turn(self, values: Sequence[float]) -> None:
        """Begin the next epoch."""
        self._before = self.limits[1:]
        self._records_before, self._records = self._records, array("q", bytes(8 * len(values)))
        self._epoch_before, self._in_epoch = self._epoch, 0
        self._epoch = min(2 * self._epoch, max(self._max_epoch, self._first_epoch))
        self._begin(values)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "bounds": (self.limits[1:] + self._before).tobytes(),
            "records": (*self._records, *self._records_before),
            "epoch": (self._epoch, self._epoch_before, self._in_epoch, self.seen),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot with the same views; ValueError when it has others."""
        count = len(self._views)
        bounds = array("d", state["bounds"])
        if len(bounds) != 4 * count:
            raise ValueError(f"records: {len(bounds) // 4} views in the snapshot, expected {count}")
        self._records = array("q", state["records"][:count])
        self._records_before = array("q", state["records"][count:])
        self._epoch, self._epoch_before, self._in_epoch, self.seen = state["epoch"]
        due = self.seen + self._epoch - self._in_epoch - 1 if self.seen else 0
        self.limits = array("d", [due, *bounds[: 2 * count]])
        self._before = bounds[2 * count :]
        self.broken = None
