"""Where the parts of a running `watchkeeper up` listen: left in its data folder while it runs, for other commands."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

LOCK = ".lock"
FILE = "up.json"


class Running(NamedTuple):
    """Addresses of a running system: API, NATS (None: not its own), and each flow's health."""

    api: str
    nats: str | None
    flows: Mapping[str, str]


def leave(data: Path, running: Running) -> None:
    """Write the addresses into the data folder."""
    (data / FILE).write_text(json.dumps(running._asdict()) + "\n", encoding="utf-8")


def take_away(data: Path) -> None:
    """Remove the addresses."""
    (data / FILE).unlink(missing_ok=True)


def find_running(data: Path) -> Running | None:
    """The system that runs on this data folder; None when none does (a file that a crash left says nothing)."""
    if not is_held(data / LOCK):
        return None
    try:
        found = json.loads((data / FILE).read_text(encoding="utf-8"))
        return Running(**found)
    except (OSError, ValueError, TypeError):
        return None  # it is starting, or of another version


def is_held(lock: Path) -> bool:
    """Whether a living process holds the lock (compose.locks); nothing is made or changed."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
