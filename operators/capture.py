"""Captures: JetStream messages as NDJSON lines, read as a source that gives what live gave.

A line is {"seq", "subject", "ts", "headers", "data"}: ts is the arrival, data the payload as text
(data_base64 where it is not UTF-8). Our own captures name their stream in the header
Watchkeeper-Stream (name@created), so a replay builds the same tracking ids.
"""

import gzip
import heapq
import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from operators.log_clock import LogClock
from schemas.base import to_utc
from schemas.event import RawMessage
from schemas.identity import stream_identity

STREAM_HEADER = "Watchkeeper-Stream"
SNAPSHOT_VERSION = 1


class CaptureError(ValueError):
    """A capture cannot be read; the message says where and what was expected."""


class Line(NamedTuple):
    """One captured message."""

    observed_at: datetime
    sequence: int
    subject: str
    data: bytes
    identity: int


def read_capture(path: Path) -> Iterator[Line]:
    """Read one capture, line by line.

    Raises:
        CaptureError: naming file and line.
    """
    identity: int | None = None
    number = last = 0
    if path.exists() and not path.is_file():
        raise CaptureError(f"{path}: no ordinary file; save it to one first, it is read twice")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            for number, text in enumerate(file, 1):  # noqa: B007 - named in the errors below
                if not text.strip():
                    continue
                line, stream = _parse(text)
                if line.sequence <= last:
                    raise ValueError(f"seq {line.sequence} after {last}, expected it to rise")
                last = line.sequence
                if identity is None:
                    identity = _identity(stream, text)
                yield line._replace(identity=identity)
    except (OSError, EOFError) as error:
        raise CaptureError(f"{path}: cannot be read after line {number}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CaptureError(
            f'{path}:{number}: expected a line {{"seq", "subject", "ts", "headers", "data"}}: {error}'
        ) from error


def _parse(text: bytes) -> tuple[Line, str | None]:
    record: dict[str, Any] = json.loads(text)
    data = b64decode(record["data_base64"], validate=True) if "data_base64" in record else record["data"].encode()
    observed_at = to_utc(datetime.fromisoformat(record["ts"]))
    headers = record.get("headers") or {}
    return Line(observed_at, int(record["seq"]), str(record["subject"]), data, 0), headers.get(STREAM_HEADER)


def _identity(stream: str | None, first: bytes) -> int:
    """The stream's own identity where the capture names it, else one made from its first line."""
    if stream is not None:
        name, _, created = stream.partition("@")
        return stream_identity(name, created)
    return int.from_bytes(blake2b(first.strip(), digest_size=6).digest(), "big")


def read_captures(paths: Sequence[Path]) -> Iterator[Line]:
    """Read captures as one log: one keeps its sequences, several are merged by arrival and numbered anew."""
    if len(paths) == 1:
        yield from read_capture(paths[0])
        return
    merged = heapq.merge(*(read_capture(path) for path in paths), key=lambda line: line.observed_at)
    for sequence, line in enumerate(merged, 1):
        yield line._replace(sequence=sequence)


class CapturePartition(StatefulSourcePartition[RawMessage, dict[str, Any]]):
    """Hands out the messages of a capture, with the ticks that LogClock sees between them.

    batch gives the size of each next batch, in messages. State: lines read, and where log time stands.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        batch: Callable[[], int],
        on_read: Callable[[int], None],
        resume: dict[str, Any] | None,
    ) -> None:
        self._batch = batch
        self._on_read = on_read
        self._read = resume["read"] if resume else 0
        self._clock = LogClock(resume["reached"], resume.get("back_since")) if resume else LogClock()
        self._lines = islice(read_captures(paths), self._read, None)

    def next_batch(self) -> list[RawMessage]:
        """The next messages.

        Raises:
            StopIteration: at the end of the capture.
            CaptureError: for a line that is none.
        """
        out: list[RawMessage] = []
        for line in islice(self._lines, self._batch()):
            self._read += 1
            message = RawMessage("TELEMETRY", line.identity, line.sequence, line.observed_at, line.subject, line.data)
            if self._clock.reaches(line.observed_at):
                out.append(message._replace(data=b"", tick=True))
            out.append(message)
        if not out:
            raise StopIteration
        self._on_read(self._read)
        return out

    def snapshot(self) -> dict[str, Any]:
        """Where to go on."""
        clock = self._clock
        return {"v": SNAPSHOT_VERSION, "read": self._read, "reached": clock.reached, "back_since": clock.back_since}


class CaptureSource(FixedPartitionedSource[RawMessage, dict[str, Any]]):
    """The messages of one or more captures, as fast as the flow takes them.

    The end of the capture is not the end of time: nothing closes because of it. A replay resumes
    where its snapshot says. on_read is told how many messages have been read, batch by batch.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        batch: int | Callable[[], int] = 500,
        on_read: Callable[[int], None] = lambda read: None,
    ) -> None:
        self._paths = list(paths)
        self._on_read = on_read
        self._batch = batch if callable(batch) else lambda: batch

    def list_parts(self) -> list[str]:
        """One partition: the log is totally ordered."""
        return ["capture"]

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> CapturePartition:
        """Begin, or go on after the snapshot."""
        return CapturePartition(self._paths, self._batch, self._on_read, resume_state)
