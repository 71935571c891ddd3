"""A plot as lines of text for a terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from string import ascii_lowercase, digits
from textwrap import wrap
from typing import Final, NamedTuple

from compose.plot.canvas import Canvas
from compose.plot.data import Plot, Span
from compose.plot.picture import printable
from operators.detect.finding import number

MIN_WIDTH: Final = 40
ROWS: Final = 16
MOST_FINDINGS: Final = 20
FIRED: Final = "fired"
TICK_CELLS: Final = 12
NAMES: Final = digits[1:] + ascii_lowercase
STEPS_S: Final = tuple(
    seconds * count
    for seconds, counts in ((1, (1, 5, 15, 30)), (60, (1, 2, 5, 10, 15, 30)), (3600, (1, 2, 3, 6, 12)))
    for count in counts
) + tuple(86_400 * days for days in (1, 2, 3, 5, 7, 10, 14, 20, 30, 60, 90, 180, 365))

VALUE, BAND, BOUND, FIRING = "*", ".", "-", "#"
_HARD: Final = "\xa0"  # a space that wrap does not break at
COLORS: Final = {VALUE: "36", BAND: "90", BOUND: "35", FIRING: "31"}


class Look(NamedTuple):
    """How to write: so many cells wide, in braille or plain ASCII, in colours or without."""

    width: int = 80
    braille: bool = True
    colors: bool = False


class _Frame(NamedTuple):
    """The characters around the drawing."""

    side: str
    corner: str
    line: str
    tick: str
    firing: str
    value: str
    band: str
    bound: str


_LINES = _Frame("│", "└", "─", "┬", "━", "⠤⠤", "⠂⠂", "⠤ ⠤")
_ASCII = _Frame("|", "+", "-", "+", "=", VALUE * 2, BAND * 2, BOUND * 2)


def draw_text(plot: Plot, look: Look) -> str:
    """The plot as text: no line is wider than look.width (40 at least), times are UTC."""
    frame = _LINES if look.braille else _ASCII
    low, high = plot.shown_range()
    labels = _value_labels(low, high)
    gutter = max(len(FIRED), *map(len, labels.values()))
    canvas = _paint(plot, max(look.width, MIN_WIDTH) - gutter - 2, look)
    out = [*_head(plot, look.width)]
    for row, cells in enumerate(canvas.lines()):
        text = "".join(_colored(char, mark, look) for char, mark in cells)
        out.append(f"{labels.get(row, ''):>{gutter}} {frame.side}{text}".rstrip())
    out += _axis(plot, canvas, gutter, frame)
    out += _firing(plot, canvas, gutter, frame, look)
    out += _legend(plot, frame, look)
    out += _findings(plot, look.width)
    text = "\n".join(out)
    return text if look.braille else text.encode("ascii", "replace").decode()


def _paint(plot: Plot, columns: int, look: Look) -> Canvas:
    canvas = Canvas(columns, ROWS, plot.shown_span(), plot.shown_range(), braille=look.braille)
    sparse = 3 if look.braille else 2
    if plot.band:
        canvas.layer(BAND)
        for side in (1, 2):
            canvas.points(plot.at, [point[side] for point in plot.band], sparse)
    canvas.layer(BOUND)
    for bound in plot.bounds:
        for offset in (0, 1) if look.braille else (0,):
            canvas.level(bound.value, 4, offset)
    canvas.layer(VALUE)
    extremes = plot.extremes
    lows = [low for low, _ in extremes] if extremes else plot.values
    highs = [high for _, high in extremes] if extremes else plot.values
    canvas.trace(plot.at, lows, highs)
    return canvas


def _head(plot: Plot, width: int) -> Iterator[str]:
    unit = f" ({printable(plot.unit)})" if plot.unit else ""
    yield from wrap(f"{printable(plot.title)}{unit}", width)
    low, high = plot.value_range()
    yield from wrap(f"{printable(plot.note)}; lowest {number(low)}, highest {number(high)}".lstrip("; "), width)


def _value_labels(low: float, high: float) -> dict[int, str]:
    """Labels of some rows, each the value in the middle of its row."""
    step = (high - low) / ROWS
    rows = (0, ROWS // 3, 2 * ROWS // 3, ROWS - 1)
    return {row: number(high - (row + 0.5) * step) for row in rows}


def _axis(plot: Plot, canvas: Canvas, gutter: int, frame: _Frame) -> list[str]:
    """The line of the axis with its ticks, and the times under them."""
    line = [frame.line] * canvas.columns
    texts = [" "] * (canvas.columns + 8)
    day = ""
    free = 0
    for at in _ticks(*plot.shown_span(), canvas.columns // TICK_CELLS):
        cell = canvas.column(at) // canvas.across
        line[cell] = frame.tick
        moment = datetime.fromtimestamp(at, UTC)
        text = f"{moment:%H:%M:%S}" if at % 60 else f"{moment:%H:%M}"
        if f"{moment:%m-%d}" != day:
            day = f"{moment:%m-%d}"
            text = day if at % 86_400 == 0 and day else f"{day} {text}"
        begin = min(max(free, cell - len(text) // 2), canvas.columns - len(text))
        if begin >= free:
            texts[begin : begin + len(text)] = text
            free = begin + len(text) + 1
    margin = " " * (gutter + 1)
    return [f"{margin}{frame.corner}{''.join(line)}", f"{margin} {''.join(texts).rstrip()}"]


def _ticks(begin: float, end: float, most: int) -> list[float]:
    """Round times in a span, at most so many."""
    places = [step for step in STEPS_S if (end - begin) / step <= max(most, 1)]
    step = places[0] if places else STEPS_S[-1]
    first = -(-begin // step) * step
    return [first + n * step for n in range(int((end - first) // step) + 1)] if first <= end else []


def _firing(plot: Plot, canvas: Canvas, gutter: int, frame: _Frame, look: Look) -> list[str]:
    """One line on which each firing interval is marked and named."""
    begin, end = plot.shown_span()
    cells = [" "] * canvas.columns
    starts: dict[int, str] = {}
    for name, span in zip(_names(len(plot.findings)), plot.findings, strict=False):
        until = end if span.end is None else span.end
        if until < begin or span.begin > end:
            continue
        first, last = (canvas.column(at) // canvas.across for at in (span.begin, until))
        cells[first : last + 1] = frame.firing * (last + 1 - first)
        place = next((cell for cell in range(first, last + 1) if cell not in starts), None)
        if place is not None:
            starts[place] = name
    if not plot.findings:
        return []
    marked = "".join(_colored(starts.get(n, char), FIRING, look) for n, char in enumerate(cells))
    return [f"{FIRED:>{gutter}}  {marked}".rstrip()]


def _legend(plot: Plot, frame: _Frame, look: Look) -> list[str]:
    parts = [f"{frame.value} {'lowest to highest' if plot.extremes else 'value'}"]
    if plot.band:
        parts.append(f"{frame.band} {printable(plot.band_name())}")
    parts += [f"{frame.bound} {printable(bound.text)}" for bound in plot.bounds]
    whole = "   ".join(part.replace(" ", _HARD) for part in parts)
    return [line.replace(_HARD, " ") for line in wrap(whole, look.width)]


def _findings(plot: Plot, width: int) -> list[str]:
    if not plot.findings:
        return ["", "no findings"]
    shown = plot.findings[:MOST_FINDINGS]
    out = [""]
    for name, span in zip(_names(len(shown)), shown, strict=True):
        out += wrap(f"{name}  {_when(span)}", width, subsequent_indent="   ")
        out += wrap(printable(span.text), width, initial_indent="   ", subsequent_indent="   ")
    if len(plot.findings) > len(shown):
        out.append(f"   and {len(plot.findings) - len(shown)} more: give a shorter span of time")
    return out


def _names(count: int) -> list[str]:
    return [NAMES[n] if n < len(NAMES) else "+" for n in range(count)]


def _when(span: Span) -> str:
    begin = datetime.fromtimestamp(span.begin, UTC)
    if span.end is None:
        return f"{begin:%Y-%m-%d %H:%M:%S} UTC, not cleared"
    end = datetime.fromtimestamp(span.end, UTC)
    same_day = begin.date() == end.date()
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}} UTC"


def _colored(char: str, mark: str, look: Look) -> str:
    return f"\x1b[{COLORS[mark]}m{char}\x1b[0m" if look.colors and mark and char != " " else char
