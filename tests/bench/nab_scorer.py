"""The score of the Numenta Anomaly Benchmark, as published (Lavin and Ahmad, ICMLA 2015).

The first 15 % of a stream (at most 750 points) is ignored. Within a window only the best detection
counts, by a scaled sigmoid of its position; outside, each point costs by its distance from the
window before. One threshold serves all streams. No detection gives 0, a perfect detector 100.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.bench.nab_data import Labelled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Profile(NamedTuple):
    """What a false positive and a missed window cost, when a detection is worth 1."""

    false_positive: float
    missed: float


PROFILES = {"standard": Profile(0.11, 1.0), "low_fp": Profile(0.22, 1.0), "low_fn": Profile(0.11, 2.0)}


class Best(NamedTuple):
    """The best score that one threshold for all streams gives (points at or above it are alarms)."""

    threshold: float
    score: float


def probation(length: int) -> int:
    """How many points at the start are ignored.

    >>> probation(1000), probation(4032), probation(22695)
    (150, 604, 750)
    """
    return min(int(0.15 * length), 750)


def worth(stream: Labelled) -> tuple[Floats, Ints]:
    """What an alarm at each point is worth before weighting, and the number of its window (-1: none)."""
    length = len(stream.values)
    value = np.full(length, -1.0)
    window = np.full(length, -1, dtype=np.int64)
    index = np.arange(length, dtype=np.float64)
    for number, (first, last) in enumerate(stream.windows):
        width = last - first + 1.0
        inside = slice(first, last + 1)
        window[inside] = number
        value[inside] = _sigmoid(-(last - index[inside] + 1.0) / width) / _sigmoid(np.array([-1.0]))[0]
        value[last + 1 :] = _sigmoid((index[last + 1 :] - last) / (width - 1.0))
    return value, window


def _sigmoid(position: Floats) -> Floats:
    scaled: Floats = 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 4.0))) - 1.0
    return np.where(position > 3.0, -1.0, scaled)


class Scorer:
    """Scores detectors on a set of streams; the worth of each point is computed once."""

    def __init__(self, streams: Sequence[Labelled]) -> None:
        self._from = [probation(len(stream.values)) for stream in streams]
        worths = [worth(stream) for stream in streams]
        counts = np.cumsum([0, *(len(stream.windows) for stream in streams)])
        self.windows = int(counts[-1])
        self._worth = np.concatenate([value[start:] for (value, _), start in zip(worths, self._from, strict=True)])
        self._window = np.concatenate(
            [
                np.where(window[start:] >= 0, window[start:] + offset, -1)
                for (_, window), start, offset in zip(worths, self._from, counts[:-1], strict=True)
            ]
        )

    def curve(self, scores: Sequence[Sequence[float]], profile: Profile) -> tuple[Floats, Floats]:
        """Every threshold that matters, falling from infinity, and the score at each of them."""
        flat = self._flat(scores)
        order = np.argsort(-flat, kind="stable")
        gain = np.where(self._window >= 0, 0.0, self._worth * profile.false_positive)[order]
        window = self._window[order]
        value = self._worth[order]
        inside = np.flatnonzero(window >= 0)
        for number in range(self.windows):
            at = inside[window[inside] == number]
            if len(at):
                best = np.maximum.accumulate(value[at])
                gain[at] = np.diff(best, prepend=-profile.missed)
        last = np.append(np.flatnonzero(np.diff(flat[order])), len(flat) - 1)
        total = np.cumsum(gain)[last]
        scale = 100.0 / (self.windows * (1.0 + profile.missed))
        return np.append(np.inf, flat[order][last]), np.append(0.0, total * scale)

    def best(self, scores: Sequence[Sequence[float]], profile: Profile) -> Best:
        """The best threshold and its score."""
        thresholds, totals = self.curve(scores, profile)
        at = int(np.argmax(totals))
        return Best(float(thresholds[at]), float(totals[at]))

    def at(self, scores: Sequence[Sequence[float]], profile: Profile, threshold: float) -> float:
        """The score when points at or above the threshold are alarms."""
        thresholds, totals = self.curve(scores, profile)
        return float(totals[np.flatnonzero(thresholds >= threshold)[-1]])

    def _flat(self, scores: Sequence[Sequence[float]]) -> Floats:
        parts: list[Any] = [
            np.asarray(score, dtype=np.float64)[start:] for score, start in zip(scores, self._from, strict=True)
        ]
        flat: Floats = np.concatenate(parts)
        if len(flat) != len(self._worth) or not np.isfinite(flat).all():
            raise ValueError(f"{len(flat)} scores for {len(self._worth)} points, all finite: check the detector")
        return flat
