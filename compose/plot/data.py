"""What is drawn: a series, what was expected of it, and what was found on it."""

from math import isfinite
from statistics import median
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of time with a name; end is None while it goes on. Seconds since 1970."""

    begin: float
    end: float | None
    text: str


class Bound(NamedTuple):
    """A fixed bound, drawn as a horizontal line; value is in the unit of the series."""

    value: float
    text: str


class Plot(NamedTuple):
    """Everything that a drawing shows; times are seconds since 1970, in rising order.

    values: one a time. band: (expected, lower, upper) a time, NaN where nothing was expected yet;
    band_text says which detector's it is. findings: firing intervals. labels: windows that are
    known to be anomalous, where somebody marked them. extremes: (lowest, highest) a time, where a
    point stands for several samples, else None. bounds: those of thresholds that fired. note: one
    line under the title.
    """

    title: str
    unit: str | None
    at: list[float]
    values: list[float]
    band: list[tuple[float, float, float]] | None
    findings: list[Span]
    labels: list[Span]
    extremes: list[tuple[float, float]] | None = None
    bounds: tuple[Bound, ...] = ()
    band_text: str = "band"
    note: str = ""

    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest value of the series itself (0, 1 when there is none)."""
        if self.extremes:
            return min(low for low, _ in self.extremes), max(high for _, high in self.extremes)
        return (min(self.values), max(self.values)) if self.values else (0.0, 1.0)

    def shown_range(self) -> tuple[float, float]:
        """What the vertical axis spans: the values, the bounds and the band near them, with a little room.

        A band may be far wider than the values (it is, while a detector knows little): it is cut.
        """
        low, high = self.value_range()
        room = high - low or abs(high) * 0.1 or 1.0
        wanted = [bound.value for bound in self.bounds if low - room <= bound.value <= high + room]
        wanted += [each for each in self._usual_band() if low - room / 2 <= each <= high + room / 2]
        low, high = min([low, *wanted]), max([high, *wanted])
        return low - room * 0.06, high + room * 0.06

    def shown_span(self) -> tuple[float, float]:
        """The time that the horizontal axis spans, never empty: that of the values, and of what fired after them."""
        begin, end = (self.at[0], self.at[-1]) if self.at else (0.0, 0.0)
        end = max([end, *(span.begin if span.end is None else span.end for span in self.findings)])
        return (begin, end) if end > begin else (begin - 30.0, begin + 30.0)

    def band_name(self) -> str:
        """band_text, and that it lies outside where all that one would see of it is its middle."""
        low, high = self.shown_range()
        usual = self._usual_band()
        outside = bool(usual) and not any(low <= each <= high for each in usual)
        return f"{self.band_text}, wider than shown" if outside else self.band_text

    def _usual_band(self) -> list[float]:
        """The median of the lower and of the upper bounds, without those that are NaN."""
        sides = ([each[side] for each in self.band or () if isfinite(each[side])] for side in (1, 2))
        return [median(side) for side in sides if side]
