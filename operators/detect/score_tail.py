"""Tail calibration: how far records must go before chance alone takes them there only as often as policy allows."""

from math import log
from typing import Any

MONTH_S = 30 * 86_400.0
START = 100  # samples at the start whose peaks say nothing about later ones
FLOOR = 0.03  # sizes under this are no peaks


class ScoreTail:
    """A firing bound from the largest peak that the size of records has reached in this series.

    Peaks are the largest sizes in clusters of at most `cluster` samples. The next peak passes the
    largest of k before with chance 1 / (k + 1), and b times that with at most b^-shape of it: a tail
    heavier than that of any noise that it was tried on. Records grow rarer as 1 / t, so after n
    samples the peaks of the month ahead are to those so far as

        r = ln(1 + month / n) / ln(1 + n / 50),
        bound = max(min_size, largest max(min_stretch, (r / risk)^(1 / shape))),

    and the month is expected to bring `risk` of them beyond the bound, or fewer. A restless series
    earns a high bound in its first hours, a quiet one a low one; no peak fires that is not min_stretch
    times as large as any before.
    A peak counts as at most `cap` times the bound that it met, so that one fault does not blind, and
    what comes again and again is learnt. The present cluster is not in its own bound. State: four
    numbers; cost: one comparison where no record falls. Source: SPOT, Siffer et al., KDD 2017, for the
    idea; the chance of a record (Chandler 1952) in place of a fitted quantile.
    """

    __slots__ = (
        "_began",
        "_largest",
        "_peak",
        "cap",
        "cluster",
        "min_month",
        "min_size",
        "min_stretch",
        "risk",
        "shape",
    )

    def __init__(
        self,
        *,
        risk: float,
        min_size: float,
        min_month: float,
        shape: float = 2.0,
        min_stretch: float = 3.5,
        cap: float = 2.0,
        cluster: int = 110,
    ) -> None:
        self.risk = risk
        self.min_size = min_size
        self.min_month = min_month
        self.shape = shape
        self.min_stretch = min_stretch
        self.cap = cap
        self.cluster = cluster
        self._largest = 0.0
        self._peak = 0.0
        self._began = 0

    def update(self, seen: int, size: float, bound: float) -> None:
        """Take the size of the records of sample number `seen` (from 0), and the bound that it was held against."""
        size = min(size, self.cap * bound)
        if size < FLOOR or seen < START:
            return
        if self._peak and seen - self._began < self.cluster:
            self._peak = max(self._peak, size)
            return
        self._largest = max(self._largest, self._peak)
        self._peak = size
        self._began = seen

    def bound(self, seen: int, month: float) -> float:
        """The size that fires at sample number `seen`, when a month has `month` samples."""
        ahead = log(1.0 + max(month, self.min_month) / max(seen, 1)) / log(1.0 + (seen + 1) / 50.0)
        stretch: float = max((ahead / self.risk) ** (1.0 / self.shape), self.min_stretch)
        largest = max(self._largest, self._peak) if seen - self._began >= self.cluster else self._largest
        return max(self.min_size, largest * stretch)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"largest": self._largest, "peak": self._peak, "began": self._began}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._largest, self._peak, self._began = state["largest"], state["peak"], state["began"]
