"""A plot as a PNG, by matplotlib (the optional extra `plot`)."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

from compose.plot.data import Plot, Span
from compose.plot.errors import PlotError, PlotFailedError
from compose.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_IN = (12.0, 5.0)
DPI = 110

MAX_NAMED = 8
LEGEND = 40
LINE, BAND, EXPECTED, LABEL, BOUND = "#1f4e79", "#8fb8de", "#22b8cf", "#2b8a3e", "#862e9c"
FINDINGS = ("#d9480f", "#e8b008", "#c2255c", "#5f3dc4")


def draw_png(plot: Plot, path: Path) -> None:
    """Draw a plot into a file: the line, its band, findings shaded and numbered, labels along the top.

    No display is needed (Agg). Not for several threads at once: matplotlib's settings are shared by all.

    Raises:
        PlotFailedError: when matplotlib is not installed.
        PlotError: when the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotFailedError("--png needs matplotlib; install it with: pip install 'watchkeeper[plot]'") from error
    # Names come from outside: a $ in one is no formula, and a character that the font lacks is a box.
    with matplotlib.rc_context({"text.parse_math": False}), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
        _draw(figure.add_subplot(), plot)
        try:
            figure.savefig(path, format="png")
        except OSError as error:
            raise PlotError(f"{path} cannot be written: {error.strerror}; name another file") from error


def _draw(axes: "Axes", plot: Plot) -> None:
    axes.set_xlim(*map(_when, plot.shown_span()))
    axes.set_ylim(*plot.shown_range())
    _draw_band(axes, plot)
    _draw_line(axes, plot)
    _draw_spans(axes, plot)
    for bound in plot.bounds:
        axes.axhline(bound.value, color=BOUND, linewidth=1.0, linestyle="--", label=printable(bound.text))
    _dress(axes, plot)


def _draw_line(axes: "Axes", plot: Plot) -> None:
    times: list[Any] = [_when(at) for at in plot.at]
    if plot.extremes:
        lows, highs = zip(*plot.extremes, strict=True)
        axes.fill_between(times, lows, highs, color=LINE, alpha=0.35, linewidth=0.4, label="lowest to highest")
    alone = len(plot.at) == 1
    axes.plot(times, plot.values, color=LINE, linewidth=0.8, marker="o" if alone else "", label="value")


def _draw_band(axes: "Axes", plot: Plot) -> None:
    if not plot.band:
        return
    times: list[Any] = [_when(at) for at in plot.at]
    expected, lower, upper = zip(*plot.band, strict=True)
    axes.fill_between(times, lower, upper, color=BAND, alpha=0.35, linewidth=0, label=printable(plot.band_name()))
    axes.plot(times, expected, color=EXPECTED, linewidth=0.8, zorder=3, label="expected")


def _draw_spans(axes: "Axes", plot: Plot) -> None:
    colors: dict[str, str] = {}
    for span, begin, end in _in_sight(plot.findings, plot):
        name = short_name(span.text)
        first = name not in colors
        color = colors.setdefault(name, FINDINGS[len(colors) % len(FINDINGS)])
        label = f"fired: {name}" if first and len(colors) <= MAX_NAMED else None
        axes.axvspan(begin, end, color=color, alpha=0.22, linewidth=0.5, label=label)
    for number, (_, begin, end) in enumerate(_in_sight(plot.labels, plot)):
        axes.axvspan(begin, end, 0.965, 1.0, color=LABEL, linewidth=0, label=None if number else "labelled")


def _in_sight(spans: Iterable[Span], plot: Plot) -> Iterator[tuple[Span, float, float]]:
    """Each span that is in sight, and where it begins and ends on the axis."""
    begin, end = plot.shown_span()
    least = (end - begin) / 400.0  # what is shorter than a dot would not be seen
    for span in spans:
        until = end if span.end is None else span.end
        if span.begin <= end and until >= begin:
            yield span, _axis(span.begin), _axis(max(until, span.begin + least))


def short_name(text: str) -> str:
    """What fired: the text up to its first colon, short enough for a legend.

    >>> short_name("threshold cpu_high: 93 is above 85")
    'threshold cpu_high'
    """
    name = printable(text.partition(":")[0])
    return name if len(name) <= LEGEND else f"{name[: LEGEND - 1]}…"


def _dress(axes: "Axes", plot: Plot) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import EngFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9, tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("time (UTC)")
    axes.set_ylabel(printable(plot.unit) if plot.unit else "value")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_title(printable(plot.title), loc="left", fontsize=11, fontweight="bold", pad=20 if plot.note else 8)
    note = printable(plot.note)
    axes.annotate(note, (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points", fontsize=8)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # Under the time axis: long names have room there, and nothing of the data is hidden.
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.13), ncols=4, fontsize=8, frameon=False)


def _when(seconds: float) -> Any:
    return datetime.fromtimestamp(seconds, UTC)


def _axis(seconds: float) -> float:
    from matplotlib.dates import date2num

    return float(date2num(_when(seconds)))


def printable(text: str) -> str:
    r"""The text on one line, what would steer a terminal shown.

    >>> print(printable("a\x1b[2J\nb"))
    a\x1b[2J b
    """
    return visible(" ".join(text.splitlines()), keep="")
