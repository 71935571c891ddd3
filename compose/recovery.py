"""The recovery store of a flow: made on first use, checked, held by one process, never begun anew in silence."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bytewax.recovery import RecoveryConfig, init_db_dir

from compose.errors import causes
from compose.locks import ComposeError, FileLock
from operators.stored_state import StoredStateError

PARTITIONS: Final = 1
LITTLE_FREE: Final = 1024 * 1024
"""Bytes; with less than this an SQLite error is put down to the full disk."""

DAMAGED: Final = ("DatabaseCorrupt", "NotADatabase", "no such table")
"""What SQLite says of a store that is not whole; everything else is the disk's or the system's."""

Traces = Callable[[], str | None]
"""What shows that a flow has run before although it has no recovery store; None when nothing does."""


class RecoveryError(ComposeError):
    """The recovery store cannot be used; the message says what to do."""


def no_traces() -> str | None:
    """Nothing to look at."""
    return None


def prepare_recovery(folder: Path, traces: Traces = no_traces) -> RecoveryConfig:
    """The recovery configuration of a folder named after its flow; its store is made on the first start ever.

    Raises:
        RecoveryError: when the store is gone, damaged, or something else than such a store.
    """
    check_recovery(folder)
    if not folder.exists():
        found = traces()
        if found is not None:
            raise RecoveryError(f"{folder}: there is no recovery store, but {found}. {remedy(folder)}")
        make_store(folder)
    _mark(folder)
    return RecoveryConfig(folder, timedelta(0))


def remedy(folder: Path) -> str:
    """What to do about a store that cannot be used."""
    return f"Restore the folder from a backup, or rebuild the state from the stream: watchkeeper recover {folder.name}"


def check_recovery(folder: Path) -> None:
    """Make sure that the store is whole, or that there has never been one.

    Reads the whole store (300 MB: 0.1 s).

    Raises:
        RecoveryError: naming what is wrong, where, and what to do.
    """
    marker = _marker(folder)
    if not folder.exists():
        if marker.exists():
            raise RecoveryError(
                f"{folder}: the recovery store is gone (it was made {marker.read_text().strip()}). {remedy(folder)}"
            )
        return
    found = sorted(path.name for path in folder.glob("part-*.sqlite3"))
    declared = _declared_partitions(folder / found[0]) if found else 0
    if len(found) != PARTITIONS or declared != PARTITIONS:
        raise RecoveryError(
            f"{folder}: expected a recovery store of {PARTITIONS} partition, found {len(found)} file(s) "
            f"of a store of {declared}. {remedy(folder)}"
        )


def make_store(folder: Path, fill: Callable[[Path], None] = lambda fresh: None) -> Path | None:
    """Put an empty store in place, whole or not at all; a store that was there is kept beside it, and returned.

    fill may put more into the fresh folder.

    Raises:
        RecoveryError: when it cannot be written.
    """
    aside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder.with_name(f".{folder.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir()
        init_db_dir(fresh, PARTITIONS)
        fill(fresh)
        if folder.exists():
            aside = folder.with_name(f"{folder.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z")
            folder.rename(aside)
        # Renamed when complete: a crash half-way leaves no store that looks whole.
        fresh.rename(folder)
    except (OSError, RuntimeError, sqlite3.Error) as error:
        if isinstance(error, ConnectionError):
            raise
        raise RecoveryError(f"{folder}: the recovery store cannot be made ({error}): {_space(folder)}") from error
    return aside


def _marker(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.made")


def _mark(folder: Path) -> None:
    """Leave a word beside the store, by which its loss is noticed."""
    marker = _marker(folder)
    if not marker.exists():
        try:
            marker.write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
        except OSError as error:
            raise RecoveryError(f"{marker}: cannot be written ({error.strerror}): {_space(folder)}") from error


def _declared_partitions(path: Path) -> int:
    """How many partitions the store says it has; every page of it is looked at."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
            row = connection.execute("SELECT MAX(part_count) FROM parts").fetchone()
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        is_damaged = not isinstance(error, sqlite3.OperationalError) or "no such table" in str(error)
        if not is_damaged or _is_full(path.parent):
            raise RecoveryError(f"{path}: cannot be opened ({error}): {_space(path.parent)}") from error
        raise RecoveryError(f"{path}: not a readable recovery store ({error}). {remedy(path.parent)}") from error
    if said != "ok":
        raise RecoveryError(f"{path}: not a readable recovery store ({said}). {remedy(path.parent)}")
    return int(row[0] or 0)


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < LITTLE_FREE


def _space(folder: Path) -> str:
    """What to do when it cannot be written."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free // 1024
    return f"{free} KiB are free there; make room and start again, what was committed is kept"


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say in our words what the recovery store does to a flow that runs on it.

    Raises:
        RecoveryError: for a full disk, a damaged store, or state that this version cannot read.
    """
    try:
        yield
    except Exception as error:
        known = explain(error, folder)
        if known is None:
            raise
        raise known from error


def explain(error: BaseException, folder: Path) -> RecoveryError | None:
    """What ended a flow, if it was the recovery store; Bytewax hands on SQLite's words only."""
    for cause in causes(error):
        if isinstance(cause, StoredStateError):
            return RecoveryError(
                f"{folder}: {cause}. Start the version, or the settings, that wrote it, or rebuild the state from the "
                f"stream: watchkeeper recover {folder.name}"
            )
        text = str(cause)
        if "SqliteFailure" in text and ("DiskFull" in text or (folder.exists() and _is_full(folder))):
            return RecoveryError(f"{folder}: the disk is full, the epoch was not committed: {_space(folder)}")
        if "SqliteFailure" in text:
            said = text.partition("SqliteFailure")[2][:200]
            damaged = any(word in text for word in DAMAGED)
            then = remedy(folder) if damaged else f"Check the disk and who may write there; {_space(folder)}"
            return RecoveryError(f"{folder}: the recovery store failed {said}. {then}")
    return None


def recovery_lock(folder: Path) -> FileLock:
    """The lock that keeps a recovery store to one process."""
    return FileLock(folder.with_name(f".{folder.name}.lock"), f"the recovery store {folder}")
