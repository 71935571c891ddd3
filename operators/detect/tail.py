"""tail: how high a peak must be to be a false alarm no more often than a given risk, in constant memory."""

from math import expm1, log
from typing import NamedTuple


class TailSettings(NamedTuple):
    """What a tail assumes before it has seen anything, and how much risk it may take.

    level: peaks are counted above it. risk: expected false firings per sample. shape, scale: the
    prior, as if `shape` peaks with a mean excess of scale / shape had been seen. memory: samples
    after which history counts half.
    """

    level: float = 5.0
    risk: float = 1e-7
    shape: float = 4.0
    scale: float = 4.0
    memory: float = 1e6


_MEMORY = TailSettings._fields.index("memory")


class PeakTail:
    """The tail of one series: peaks over a level, and the bound that they put to the risk.

    Excesses over the level are taken as exponential with an unknown rate, whose prior is
    Gamma(shape, scale). After N peaks of total excess Y in n samples the next excess exceeds y with
    probability (1 + y / B)^-A, A = shape + N, B = scale + Y (a Lomax law: wide while little is
    known, exponential in the end), and a peak comes (N + 1) / n times a sample, so that

        bound = level + B ((rate / risk)^(1 / A) - 1),   rate = (N + 1) / n.

    So a quiet series earns a low bound by its silence, a jumpy one a high bound by its jumps; there
    is no fixed factor. Units: those of the level. State: 3 floats a series (24 bytes in a snapshot,
    about 130 in memory); cost: one addition a sample, one power a question. Source: peaks over
    threshold (Siffer et al., Anomaly Detection in Streams with Extreme Value Theory, KDD 2017),
    with the conjugate predictive law of the exponential tail instead of a stored set of peaks.

    >>> tail = PeakTail(TailSettings(level=5.0, risk=1e-7, shape=4.0, scale=4.0))
    >>> tail.samples = 1e4
    >>> round(tail.bound(), 1)
    23.5
    >>> tail.samples = 1e6
    >>> round(tail.bound(), 1)
    8.1
    """

    __slots__ = ("excess", "peaks", "samples", "settings")

    def __init__(self, settings: TailSettings) -> None:
        self.settings = settings
        self.samples = 0.0
        self.peaks = 0.0
        self.excess = 0.0

    def bound(self) -> float:
        """The height that the next peak exceeds no more often than the risk; infinite before any sample."""
        level, risk, shape, scale, _ = self.settings
        if self.samples <= 0.0:
            return float("inf")
        ratio = (self.peaks + 1.0) / (self.samples * risk)
        if ratio <= 1.0:
            return level
        exponent = log(ratio) / (shape + self.peaks)
        return level + (scale + self.excess) * expm1(exponent)

    def count(self, many: int = 1) -> None:
        """So many more samples; history that has grown to twice the memory counts half from there."""
        full = 2.0 * self.settings[_MEMORY]
        if self.samples + many < full:
            self.samples += many
            return
        for _ in range(many):
            self.samples += 1.0
            if self.samples >= full:
                self.samples *= 0.5
                self.peaks *= 0.5
                self.excess *= 0.5

    def add(self, peak: float) -> None:
        """Take the peak of one excursion; one at or under the level is none.

        It is capped a prior's scale above the bound, so a fault raises the bound a little and never
        blinds, and what fires again and again is learnt.
        """
        excess = peak - self.settings.level
        if excess > 0.0:
            excess = min(excess, self.bound() + self.settings.scale - self.settings.level)
            self.peaks += 1.0
            self.excess += excess
