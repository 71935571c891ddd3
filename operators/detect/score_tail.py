"""Tail calibration: how far records must go before chance alone takes them there only as often as policy allows."""

from math import exp, expm1, log, log1p
from typing import Any

MONTH_S = 30 * 86_400.0
START = 50  # samples at the start whose peaks say nothing about later ones
FLOOR = log1p(0.3)
PRIOR_PEAKS = 2.0
PRIOR_EXCESS = 0.69


class ScoreTail:
    """A firing bound from the peaks that the size of records has reached in this series (peaks over threshold).

    With y = ln(1 + 10 size), the peaks of clusters of at most `cluster` samples with y >= 0.26 are
    taken as exponential in y. After k peaks whose excesses sum to L (a prior of two peaks of mean 0.69
    among them) the next one passes b with chance P = (1 + (b - 0.26) / L)^-k: the predictive tail,
    wide while little is known. Peaks of records come at a rate of about c / t, so
    E = k ln(1 + month / n) / ln(1 + n / 50) of them are to be expected in the month after sample n,
    and the bound is where E P = risk, at least min_size. The present cluster is not in its own bound;
    what fired is learnt like the rest. State: four numbers; cost: one comparison where no record falls.
    Source: SPOT, Siffer et al., KDD 2017, with a Bayesian predictive in place of the fitted quantile.
    """

    def __init__(self, *, risk: float, min_size: float, min_month: float, cluster: int = 110) -> None:
        self.risk = risk
        self.min_month = min_month
        self.cluster = cluster
        self._least = log1p(10.0 * min_size)
        self._peaks = PRIOR_PEAKS
        self._excess = PRIOR_PEAKS * PRIOR_EXCESS
        self._peak = 0.0
        self._began = 0

    def update(self, seen: int, size: float) -> None:
        """Take the size of the records of sample number `seen` (from 0)."""
        y = log1p(10.0 * size)
        if y < FLOOR or seen < START:
            return
        if self._peak and seen - self._began < self.cluster:
            self._peak = max(self._peak, y)
            return
        if self._peak:
            self._peaks += 1.0
            self._excess += self._peak - FLOOR
        self._peak = y
        self._began = seen

    def bound(self, seen: int, month: float) -> float:
        """The size that fires at sample number `seen`, when a month has `month` samples."""
        expected = self._peaks * log(1.0 + max(month, self.min_month) / max(seen, 1)) / log(1.0 + (seen + 1) / START)
        stretch = exp(log(max(expected / self.risk, 1.0)) / self._peaks) - 1.0
        return expm1(min(max(FLOOR + self._excess * stretch, self._least), 50.0)) / 10.0

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"peaks": self._peaks, "excess": self._excess, "peak": self._peak, "began": self._began}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._peaks, self._excess = state["peaks"], state["excess"]
        self._peak, self._began = state["peak"], state["began"]
