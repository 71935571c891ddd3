"""From samples and findings to what is drawn."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from compose.plot.band import ewma_band
from compose.plot.data import Bound, Plot, Span
from operators.detect.ewma import HUGE, ewma_settings
from operators.detect.finding import number
from policy import Policy


class Found(NamedTuple):
    """One finding on the series: a detector (and rule) fires or clears. Seconds since 1970."""

    anomaly_id: str
    state: str
    detector: str
    rule: str | None
    at: float
    since: float | None
    lower: float | None
    upper: float | None
    msg: str

    @property
    def source(self) -> str:
        """What fires and clears: detector and rule.

        >>> Found("", "firing", "threshold", "cpu_high", 0, None, None, None, "").source
        'threshold cpu_high'
        """
        return f"{self.detector} {self.rule}" if self.rule else self.detector


class SeriesData(NamedTuple):
    """The samples of one series in the order of time, and the findings on it.

    extremes: (lowest, highest) a time where a value is the mean of several samples; samples counts
    them all.
    """

    series: str
    ship_id: str
    unit: str | None
    at: list[float]
    values: list[float]
    samples: int
    found: list[Found]
    extremes: list[tuple[float, float]] | None = None


def build_plot(data: SeriesData, policy: Policy) -> Plot:
    """The plot of a series: its values, the ewma's band over them at policy's risk, and its findings."""
    outliers = policy.detect.outliers
    settings = ewma_settings(risk=outliers.risk_per_sample, min_std_fraction=outliers.min_std_fraction)
    of_means = " of means" if data.extremes else ""
    band = ewma_band(data.at, data.values, settings)
    note = _note(data) if band else f"{_note(data)}, too few or too steady for a band"
    return Plot(
        title=data.series,
        unit=data.unit,
        at=data.at,
        values=[_within(value) for value in data.values],
        band=band,
        findings=[span for span in spans(data.found) if span.end is None or span.end >= data.at[0]],
        labels=[],
        extremes=[(_within(low), _within(high)) for low, high in data.extremes] if data.extremes else None,
        bounds=bounds(data.found),
        band_text=f"band{of_means}: ewma at risk {number(outliers.risk_per_sample)} a sample, from these values",
        note=note,
    )


def spans(found: Sequence[Found]) -> list[Span]:
    """Firing intervals, each from when it began to when its detector cleared (None: it has not).

    found is in the order of time; a clearing without a firing before it began before all that is
    shown and is left out.
    """
    firing: dict[str, Found] = {}
    out: list[Span] = []
    for each in found:
        if each.state == "firing":
            firing.setdefault(each.source, each)
        elif each.source in firing:
            out.append(_span(firing.pop(each.source), each.at))
    out += [_span(each, None) for each in firing.values()]
    return sorted(out, key=lambda span: span.begin)


def bounds(found: Iterable[Found]) -> tuple[Bound, ...]:
    """The bounds of the thresholds that fired, each once."""
    out: dict[Bound, None] = {}
    for each in found:
        if each.detector == "threshold":
            for value, side in ((each.lower, "below"), (each.upper, "above")):
                if value is not None:
                    out[Bound(value, f"{each.rule or 'threshold'}: {side} {number(value)}")] = None
    return tuple(out)


def _within(value: float) -> float:
    """The value, or where the detectors stop reckoning: an axis must be able to span it."""
    return min(max(value, -HUGE), HUGE)


def _span(fired: Found, end: float | None) -> Span:
    begin = fired.at if fired.since is None else min(fired.since, fired.at)
    return Span(begin, end, f"{fired.source}: {fired.msg}")


def _note(data: SeriesData) -> str:
    def day(seconds: float) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"

    count = f"{data.samples:,} sample{'' if data.samples == 1 else 's'}"
    if data.extremes:
        count += f" as {len(data.at):,} means"
    return f"{day(data.at[0])} to {day(data.at[-1])} UTC, {count}"
