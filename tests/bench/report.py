"""How every benchmark prints its figures: a JSON line each, or a table for people."""

import json
import os
import platform
import sys
from collections.abc import Iterable
from typing import NamedTuple, TextIO


class Figure(NamedTuple):
    """One measured figure, with the floor it is to be compared with (from the same run; None if there is none).

    least, most: bounds that the value must keep on any machine, however busy; None where there is none.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    least: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None

    @property
    def broken(self) -> str | None:
        """Which bound the value breaks, in words.

        >>> Figure("x", 1.0, "s", most=0.5).broken
        'x is 1 s, it must not exceed 0.5'
        """
        if self.least is not None and self.value < self.least:
            return f"{self.name} is {self.value:.4g} {self.unit}, it must not fall below {self.least:g}"
        if self.most is not None and self.value > self.most:
            return f"{self.name} is {self.value:.4g} {self.unit}, it must not exceed {self.most:g}"
        return None


def machine() -> str:
    """The machine in a few words: processor, cores that this process may use, Python.

    >>> "core" in machine()
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{platform.machine()} {_processor()}, {cores} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except FileNotFoundError:
        return platform.processor() or platform.system()
    return platform.processor() or platform.system()


def json_line(figure: Figure, where: str) -> str:
    """One figure as a JSON object.

    >>> json_line(Figure("nab.standard", 77.0, "points", 38.5), "x")
    '{"name": "nab.standard", "value": 77, "unit": "points", "floor": 38.5, "ratio": 2, "machine": "x"}'
    """
    row = {
        "name": figure.name,
        "value": _short(figure.value),
        "unit": figure.unit,
        "floor": _short(figure.floor),
        "ratio": _short(figure.ratio),
        "machine": where,
    }
    return json.dumps(row)


def _short(number: float | None) -> float | int | None:
    if number is None:
        return None
    rounded = float(f"{number:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def write(figures: Iterable[Figure], *, as_json: bool, out: TextIO | None = None) -> bool:
    """Print figures as they come: JSON lines, or a table with the machine above it; False when a bound is broken."""
    held = True
    out = out if out is not None else sys.stdout
    where = machine()
    if not as_json:
        out.write(f"{where}\n{'figure':<48} {'value':>12} {'unit':<22} {'floor':>12} {'ratio':>8}\n")
    for figure in figures:
        out.write((json_line(figure, where) if as_json else _row(figure)) + "\n")
        out.flush()
        if (broken := figure.broken) is not None:
            held = False
            sys.stderr.write(f"{broken}\n")
    return held


def _row(figure: Figure) -> str:
    floor = "" if figure.floor is None else f"{figure.floor:.5g}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
    return f"{figure.name:<48} {figure.value:>12.5g} {figure.unit:<22} {floor:>12} {ratio:>8}"
