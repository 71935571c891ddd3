"""Dots in the cells of a terminal: braille, eight to a cell, or plain ASCII, one to a cell."""

from collections.abc import Sequence
from math import isfinite
from typing import Final

_BRAILLE: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell, by row and column."""


class Canvas:
    """Layers of dots over one window of time and value; a later layer lies over an earlier one.

    columns and rows are cells. x spans times, y spans values; what lies outside is cut.
    """

    def __init__(
        self, columns: int, rows: int, x: tuple[float, float], y: tuple[float, float], *, braille: bool
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.across, self.down = (2, 4) if braille else (1, 1)
        self.width, self.height = columns * self.across, rows * self.down
        self._braille = braille
        self._x, self._y = x, y
        self._layers: list[tuple[str, dict[tuple[int, int], int]]] = []

    def layer(self, mark: str) -> None:
        """Begin a layer; mark is its character where there is no braille, and its name for colours."""
        self._layers.append((mark, {}))

    def column(self, at: float) -> int:
        """The column of dots of a time."""
        begin, end = self._x
        return min(self.width - 1, max(0, int((at - begin) / (end - begin) * self.width)))

    def row(self, value: float) -> int:
        """The row of dots of a value, from the top; beyond the canvas where the value is."""
        low, high = self._y
        place = (high - value) / (high - low) * self.height
        return int(min(place, float(self.height))) if place >= 0.0 else -1

    def dot(self, column: int, row: int) -> None:
        """Set one dot of the latest layer; outside there is none."""
        if 0 <= column < self.width and 0 <= row < self.height:
            cells = self._layers[-1][1]
            cell = (row // self.down, column // self.across)
            bit = _DOTS[row % self.down][column % self.across] if self._braille else 1
            cells[cell] = cells.get(cell, 0) | bit

    def level(self, value: float, every: int, offset: int = 0) -> None:
        """A dotted line across at one value: a dot every so many columns of dots."""
        for column in range(offset, self.width, every):
            self.dot(column, self.row(value))

    def trace(self, at: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> None:
        """Join the points: each column of dots from its lowest to its highest, and on to the next."""
        previous: tuple[int, int, int] | None = None
        for column, low, high in self._reaches(at, lows, highs):
            top, bottom = self.row(high), self.row(low)
            for row in range(max(top, 0), min(bottom, self.height - 1) + 1):
                self.dot(column, row)
            if previous is not None:
                self._join(previous, (column, top, bottom))
            previous = (column, top, bottom)

    def points(self, at: Sequence[float], values: Sequence[float], every: int) -> None:
        """Single dots, at most one every so many columns; values that are not finite are left out."""
        seen = -every
        for time, value in zip(at, values, strict=True):
            column = self.column(time)
            if isfinite(value) and column - seen >= every:
                self.dot(column, self.row(value))
                seen = column

    def lines(self) -> list[list[tuple[str, str]]]:
        """The rows of cells: (character, mark of the topmost layer there, or '')."""
        return [[self._cell(row, column) for column in range(self.columns)] for row in range(self.rows)]

    def _cell(self, row: int, column: int) -> tuple[str, str]:
        bits, top = 0, ""
        for mark, cells in self._layers:
            found = cells.get((row, column), 0)
            if found:
                bits, top = bits | found, mark
        if not bits:
            return " ", ""
        return (chr(_BRAILLE + bits) if self._braille else top), top

    def _reaches(
        self, at: Sequence[float], lows: Sequence[float], highs: Sequence[float]
    ) -> list[tuple[int, float, float]]:
        """(column, lowest, highest) of each column that has points."""
        out: list[tuple[int, float, float]] = []
        for time, low, high in zip(at, lows, highs, strict=True):
            column = self.column(time)
            if out and out[-1][0] == column:
                out[-1] = (column, min(out[-1][1], low), max(out[-1][2], high))
            else:
                out.append((column, low, high))
        return out

    def _join(self, left: tuple[int, int, int], right: tuple[int, int, int]) -> None:
        """A straight line between the nearest ends of two columns' reaches."""
        (a, top_a, bottom_a), (b, top_b, bottom_b) = left, right
        if bottom_a < top_b:
            start, end = bottom_a, top_b
        elif bottom_b < top_a:
            start, end = top_a, bottom_b
        else:
            start = end = max(top_a, top_b)
        steps = max(b - a, abs(end - start))
        for step in range(1, steps):
            self.dot(a + round((b - a) * step / steps), start + round((end - start) * step / steps))
