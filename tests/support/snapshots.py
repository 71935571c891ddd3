"""Snapshots by what they mean."""

from typing import Any

from operators.detect.saved_rows import unpack_rows


def meaning(snapshot: Any) -> Any:
    """A snapshot with the rows of series as they are read.

    Equal rows may be packed as other bytes: pickle writes a string once and refers to it after that, and
    which of a row's equal strings are one object depends on whether it was read back.
    """
    if not isinstance(snapshot, dict):
        return snapshot
    if "dictionary" in snapshot and isinstance(snapshot.get("series"), bytes):
        rows = [repr(row) for row in unpack_rows(snapshot["series"], snapshot["dictionary"])]
        return {**snapshot, "series": rows}
    return {name: meaning(value) for name, value in snapshot.items()}
