"""The recovery store of a flow: made on first use, checked, held by one process."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Final

from bytewax.recovery import RecoveryConfig, init_db_dir

from compose.locks import ComposeError, FileLock

PARTITIONS: Final = 1


class RecoveryError(ComposeError):
    """The recovery store cannot be used; the message says what to do."""


def prepare_recovery(folder: Path) -> RecoveryConfig:
    """The recovery configuration of a folder, whose store is made on first use (one partition).

    Raises:
        RecoveryError: when the folder holds something else than such a store.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder.with_name(f".{folder.name}.new")
        _remove_unfinished(fresh)
        fresh.mkdir()
        init_db_dir(fresh, PARTITIONS)
        # Renamed when complete: a crash half-way leaves no store that looks whole.
        fresh.rename(folder)
    found = sorted(path.name for path in folder.glob("part-*.sqlite3"))
    declared = _declared_partitions(folder / found[0]) if found else 0
    if len(found) != PARTITIONS or declared != PARTITIONS:
        raise RecoveryError(
            f"{folder}: expected a recovery store of {PARTITIONS} partition, found {len(found)} file(s) "
            f"of a store of {declared}. Restore the folder from a backup, or move it away to start from the beginning."
        )
    return RecoveryConfig(folder, timedelta(0))


def _remove_unfinished(folder: Path) -> None:
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _declared_partitions(path: Path) -> int:
    """How many partitions the store says it has."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        try:
            row = connection.execute("SELECT MAX(part_count) FROM parts").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RecoveryError(
            f"{path}: not a readable recovery store ({error}). "
            "Restore it from a backup, or move the folder away to start from the beginning."
        ) from error
    return int(row[0] or 0)


def recovery_lock(folder: Path) -> FileLock:
    """The lock that keeps a recovery store to one process."""
    return FileLock(folder.with_name(f".{folder.name}.lock"), f"the recovery store {folder}")
