"""Tail calibration: how high a score must be to be met by chance only as often as policy allows."""

from math import exp, log
from typing import Any

MONTH_S = 30 * 86_400.0
START = 50  # samples at the start whose scores say nothing about later ones


class ScoreTail:
    """A firing bound from the peaks of a score that this series has shown (peaks over threshold).

    Scores at or above `floor` form clusters of at most `cluster` samples; the log of a cluster's peak
    over the floor is taken as exponential (a Pareto tail). With k peaks that sum to L, counted on top
    of prior_peaks of mean prior_log, the chance that the next peak passes b is
    P = (1 + ln(b / floor) / L)^-k (the predictive tail: few peaks make a heavy one). Peaks of a record
    score come at a rate of about c / t, so E = k ln(1 + month / n) / ln(1 + n / 50) are to be expected
    in the month after sample n. The bound is where E P = risk, and P is at most most_chance, and at
    least min_score: about `risk` false firings a series and month. The present cluster is not in its
    own bound. State: six numbers; cost: one comparison where the score is 0, a logarithm where not.
    Source: SPOT, Siffer et al., KDD 2017, with a Bayesian predictive in place of the fitted quantile.
    """

    def __init__(
        self,
        *,
        risk: float,
        min_score: float,
        floor: float = 0.001,
        cluster: int = 110,
        prior_peaks: float = 10.0,
        prior_log: float = 0.9,
        most_chance: float = 0.05,
        min_month: float = 0.0,
    ) -> None:
        self.risk = risk
        self.min_score = min_score
        self.floor = floor
        self.cluster = cluster
        self.most_chance = most_chance
        self.min_month = min_month
        self._peaks = prior_peaks
        self._logs = prior_peaks * prior_log
        self._peak = 0.0
        self._began = 0

    def update(self, seen: int, score: float) -> None:
        """Take the score of sample number `seen` (from 0)."""
        if score < self.floor or seen < START:
            return
        if self._peak and seen - self._began < self.cluster:
            self._peak = max(self._peak, score)
            return
        if self._peak:
            self._peaks += 1.0
            self._logs += log(self._peak / self.floor)
        self._peak = score
        self._began = seen

    def bound(self, seen: int, month: float) -> float:
        """The score that fires at sample number `seen`, when a month has `month` samples."""
        expected = self._peaks * log(1.0 + max(month, self.min_month) / max(seen, 1)) / log(1.0 + (seen + 1) / START)
        chance = min(self.risk / expected, self.most_chance)
        excess = self._logs * (chance ** (-1.0 / self._peaks) - 1.0)
        return max(self.floor * exp(min(excess, 100.0)), self.min_score)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"peaks": self._peaks, "logs": self._logs, "peak": self._peak, "began": self._began}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._peaks, self._logs = state["peaks"], state["logs"]
        self._peak, self._began = state["peak"], state["began"]
