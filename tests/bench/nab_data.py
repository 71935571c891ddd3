"""The Numenta Anomaly Benchmark's data: reading it, and saying where to get it."""

import csv
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HOW_TO_GET = (
    "NAB_DIR must name a folder with the Numenta Anomaly Benchmark's data/ and labels/. "
    "Get it (MIT licence, 10 MB): git clone --depth 1 https://github.com/numenta/NAB && export NAB_DIR=$PWD/NAB"
)


class NabMissing(Exception):
    """The data is not there; the message says how to get it."""


class Labelled(NamedTuple):
    """One stream of the benchmark: event times (s), values, and the windows as index pairs (first, last)."""

    name: str
    at: list[float]
    values: list[float]
    windows: list[tuple[int, int]]


def nab_dir() -> Path:
    """The folder that NAB_DIR names; NabMissing when it is unset or holds no labels."""
    named = os.environ.get("NAB_DIR")
    if not named:
        raise NabMissing(HOW_TO_GET)
    if not (Path(named) / "labels" / "combined_windows.json").is_file():
        raise NabMissing(f"{named} has no labels/combined_windows.json. {HOW_TO_GET}")
    return Path(named)


def load(folder: Path) -> list[Labelled]:
    """Every labelled stream, by name."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [_read(folder / "data" / name, name, windows) for name, windows in sorted(labels.items())]


def _read(path: Path, name: str, windows: list[list[str]]) -> Labelled:
    with path.open(newline="") as file:
        rows = [(_seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    at = [row[0] for row in rows]
    pairs = [(at.index(_seconds(first)), at.index(_seconds(last))) for first, last in windows]
    return Labelled(name, at, [row[1] for row in rows], pairs)


def _seconds(text: str) -> float:
    """Times in NAB name no zone; read as UTC, so that they only ever differ by a constant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
