"""One process at a time: a lock that the kernel drops when its holder dies."""

import fcntl
import os
from pathlib import Path
from typing import Self


class ComposeError(RuntimeError):
    """The parts cannot be put together; the message says why and what to do."""


class AlreadyRunningError(ComposeError):
    """Another process holds the lock; the message names it."""


class FolderError(ComposeError):
    """A folder cannot be used; the message says which, why, and what to do."""


class FileLock:
    """An exclusive lock on a file, held by this process until released or dead.

    The file keeps the holder's process id, for the message to the next one. It is not removed:
    removing it would let two processes lock two different files of one name.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._fd: int | None = None

    def acquire(self) -> Self:
        """Take the lock.

        Raises:
            FolderError: when the file cannot be made.
            AlreadyRunningError: when another process (or another lock of this one) holds it.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise FolderError(
                f"{self._what} cannot be used: {error.strerror} ({error.filename}); "
                "choose a folder that can be written (--data or WATCHKEEPER_DATA_DIR)"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunningError(
                f"{self._what} is in use by another process (pid {holder}). "
                f"Stop that process first, or choose another folder (--data or WATCHKEEPER_DATA_DIR)."
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return self

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
