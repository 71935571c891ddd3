"""The band that the ewma detector would give, sample by sample."""

from collections.abc import Sequence
from math import isfinite, nan

from operators.detect.ewma import Ewma, EwmaSettings

Band = list[tuple[float, float, float]]


class _BandedEwma(Ewma):
    """The production detector, asked what it expects before it is told."""

    __slots__ = ()

    def expects(self) -> tuple[float, float, float]:
        """The weighted mean and the bounds that the next sample is held against; NaN while it does not judge."""
        settings, scale = self._settings, self.scale
        if self._n < settings.min_samples or scale <= settings.min_std:
            return nan, nan, nan
        reach = max(self.bound * scale, settings.min_deviation)
        if not isfinite(reach):
            return self._mean, nan, nan
        low = nan if settings.judge.direction == "up" else self._mean - reach
        high = nan if settings.judge.direction == "down" else self._mean + reach
        return self._mean, low, high


def ewma_band(at: Sequence[float], values: Sequence[float], settings: EwmaSettings) -> Band | None:
    """(expected, lower, upper) for each sample before it was seen; None when all are NaN.

    Runs the production Ewma over the values, one pass, about 2 µs each.
    """
    machine = _BandedEwma(settings)
    band: Band = []
    for time, value in zip(at, values, strict=True):
        band.append(machine.expects())
        machine.update(time, value)
    return band if any(isfinite(expected) for expected, _, _ in band) else None
