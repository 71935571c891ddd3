"""A disk without room, for tests."""

from pathlib import Path


def fill(disk: Path) -> Path:
    """Take all the room that is left; the file that does is returned."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 1024, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    return filler
