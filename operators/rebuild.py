"""How the rebuilding of a flow's state is told to the flow: a note in its recovery store."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = "rebuild"
_NOTE: Final = "start.json"
_CONTEXTS: Final = "contexts.sqlite3"


class Rebuild(NamedTuple):
    """Where each stream is read from, and the context that anomalies had when they were published (if kept).

    It counts only where a stream has no recovery state yet; once there is some, that goes on.
    """

    starts: dict[str, int] = {}  # noqa: RUF012 - never changed
    contexts: Path | None = None


def contexts_of(store: Path) -> Path:
    """The file that keeps the context of published anomalies."""
    return store / FOLDER / _CONTEXTS


def write_rebuild(store: Path, starts: Mapping[str, int]) -> None:
    """Leave the note in a fresh store."""
    folder = store / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / _NOTE).write_text(json.dumps({"v": 1, "starts": dict(starts)}) + "\n")


def read_rebuild(store: Path) -> Rebuild:
    """The note of a store; an empty one where there is none.

    Raises:
        ValueError: for a note of another version.
    """
    note = store / FOLDER / _NOTE
    if not note.exists():
        return Rebuild()
    said: dict[str, Any] = json.loads(note.read_text())
    if said.get("v") != 1:
        raise ValueError(f"{note}: version {said.get('v')}, expected 1; run watchkeeper recover again")
    contexts = contexts_of(store)
    return Rebuild({str(name): int(first) for name, first in said["starts"].items()}, _there(contexts))


def _there(path: Path) -> Path | None:
    return path if path.exists() else None
