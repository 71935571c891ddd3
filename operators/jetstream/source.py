"""Reads JetStream streams into a dataflow: each message once, in order, resumable, never silent about a loss."""

import threading
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from operators.jetstream.ack import arrival_time
from operators.jetstream.background import background
from operators.jetstream.connection import NatsConfig, NatsError
from operators.jetstream.reader import Entry, Reader
from operators.log_clock import LogClock
from operators.observability import FlowMetrics
from schemas.event import RawMessage
from schemas.identity import stream_identity

CLOSE_S = 8.0
SNAPSHOT_VERSION = 2

log = structlog.get_logger()


class JetStreamSource(FixedPartitionedSource[RawMessage, dict[str, Any]]):
    """Streams of JetStream as a source, one partition a stream.

    window: messages asked for or buffered at most, a partition. batch: messages handed on at a
    time. ticks: hand on a RawMessage with tick set before each message that begins a new second of
    log time (see LogClock). gaps: hand on a RawMessage with gap_last set, before the next message, for
    messages that retention removed before they were read. heartbeat_ship: publish an OpsTick of this
    ship to ops.tick each second while connected. starts: the first sequence to read of a stream where
    there is no recovery state (else the first one kept). subjects: only messages of these (none named: all);
    what retention removed is then noticed at a start or reconnect, not between. stop: once set, the source
    ends cleanly.

    Resume state: {"v": 2, "stream", "created", "sequence", "arrived", "second", "back_since"}, the last
    message handed on, when it arrived, and where log time stands (version 1 has no arrived and
    back_since). Nothing is acknowledged; a message is handed on once per run and again after a crash
    only if its epoch had not committed. Messages that retention removed before they were read are
    counted (gap_messages) and logged with their range, whether or not they are handed on.

    Raises:
        NatsError: from next_batch, when NATS refuses us or the stream is gone or another one.
    """

    def __init__(
        self,
        config: NatsConfig,
        streams: Sequence[str],
        *,
        window: int = 8192,
        batch: int = 500,
        metrics: FlowMetrics,
        stop: threading.Event,
        ticks: bool = False,
        heartbeat_ship: str | None = None,
        gaps: bool = False,
        starts: Mapping[str, int] | None = None,
        subjects: Sequence[str] = (),
    ) -> None:
        if not streams or len(set(streams)) != len(streams):
            raise ValueError(f"streams is {list(streams)}, expected one or more different stream names")
        if window < 4 or batch < 1:
            raise ValueError(f"window is {window} and batch {batch}, expected at least 4 and 1")
        if any(start < 1 for start in (starts or {}).values()):
            raise ValueError(f"starts is {starts}, expected stream sequences from 1 on")
        self._config = config
        self._streams = list(streams)
        self._window = window
        self._batch = batch
        self._metrics = metrics
        self._stop = stop
        self._ticks = ticks
        self._ship = heartbeat_ship
        self._gaps = gaps
        self._starts = dict(starts or {})
        self._subjects = tuple(subjects)

    def list_parts(self) -> list[str]:
        """The stream names."""
        return list(self._streams)

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "JetStreamPart":
        """Begin to read one stream in the background; returns at once, also while NATS is away."""
        reader = Reader(
            self._config,
            for_part,
            window=self._window,
            metrics=self._metrics,
            stop=self._stop,
            heartbeat_ship=self._ship if for_part == self._streams[0] else None,
            subjects=self._subjects,
        )
        state = resume_state or _fresh(for_part, self._starts.get(for_part))
        _check_state(state, for_part, self._metrics.flow)
        clock = _clock(state) if self._ticks else None
        return JetStreamPart(reader, state, self._batch, self._metrics, self._stop, clock, gaps=self._gaps)


def _fresh(stream: str, start: int | None) -> dict[str, Any]:
    sequence = None if start is None else start - 1
    return {"v": SNAPSHOT_VERSION, "stream": stream, "created": None, "sequence": sequence, "second": None}


def _check_state(state: dict[str, Any], stream: str, flow: str) -> None:
    if state.get("v") not in (1, SNAPSHOT_VERSION) or state.get("stream") != stream:
        raise NatsError(
            f"recovery state of stream {stream} is {state!r}, expected version {SNAPSHOT_VERSION} of that stream: it "
            f"was written by another version; start that one, or rebuild the state: watchkeeper recover {flow}"
        )


def _clock(state: dict[str, Any]) -> LogClock:
    def time_of(name: str) -> datetime | None:
        text = state.get(name)
        return None if text is None else datetime.fromisoformat(text)

    return LogClock(time_of("second"), time_of("back_since"))


class JetStreamPart(StatefulSourcePartition[RawMessage, dict[str, Any]]):
    """One stream's partition: hands on what its Reader has buffered.

    next_batch never blocks. State: the last sequence handed on and, with ticks, where log time stands. A
    gap is handed on with the message after it, whose arrival is its time; until then the state stays
    before it.
    """

    def __init__(
        self,
        reader: Reader,
        state: dict[str, Any],
        batch: int,
        metrics: FlowMetrics,
        stop: threading.Event,
        clock: LogClock | None,
        *,
        gaps: bool = False,
    ) -> None:
        self._reader = reader
        self._stream: str = state["stream"]
        self._sequence: int | None = state["sequence"]
        self._batch = batch
        self._stop = stop
        self._arrived: int | None = state.get("arrived")
        self._clock = clock
        self._gaps = gaps
        self._gap_first: int | None = None
        self._identity: int | None = None
        self._messages_in = metrics.messages_in.labels(stream=self._stream)
        self._gap_messages = metrics.gap_messages.labels(stream=self._stream)
        # The reader's, not this partition's: whoever scrapes must not keep a forgotten partition alive.
        metrics.lag.labels(stream=self._stream).set_function(lambda: float(reader.behind))
        self._log_time = metrics.log_time.labels(stream=self._stream)
        self._latest = 0
        reader.resume(state["created"], self._sequence, self._arrived)
        self._work = background().spawn(reader.run())
        # a flow that crashes never calls close(): end the reading when the partition is forgotten
        weakref.finalize(self, background().soon, reader.finish).atexit = False

    @property
    def connected(self) -> bool:
        """Whether the stream is being read just now."""
        return self._reader.connected

    def next_batch(self) -> list[RawMessage]:
        """What has arrived, at most `batch` messages.

        Raises:
            StopIteration: once stop is set.
            NatsError: when the stream cannot be read any more.
        """
        if self._stop.is_set():
            raise StopIteration
        entries = self._pop()
        if not entries:
            self._raise_failure()
            return []
        batch = self._convert(entries)
        if self._reader.wants_wake:
            background().soon(self._reader.wake)
        return batch

    def _pop(self) -> list[Entry]:
        waiting = self._reader.entries
        # only this thread removes, so what was counted is still there
        return [waiting.popleft() for _ in range(min(len(waiting), self._batch))]

    def _raise_failure(self) -> None:
        """Pass on what ended the reading, once everything that had arrived is handed on."""
        if self._work.done() and not self._reader.entries and (error := self._work.exception()) is not None:
            raise error

    def _convert(self, entries: list[Entry]) -> list[RawMessage]:
        stream, identity, clock = self._stream, self._stream_identity(), self._clock
        out: list[RawMessage] = []
        size = count = 0
        latest = self._latest
        for sequence, arrived, subject, data in entries:
            if data is None:
                self._report_gap(arrived, sequence)
                continue
            at = arrival_time(arrived)
            if self._gap_first is not None:
                out.append(RawMessage(stream, identity, self._gap_first, at, "", b"", gap_last=sequence - 1))
                self._gap_first = None
            if clock is not None and clock.reaches(at):
                out.append(RawMessage(stream, identity, sequence, at, subject, b"", True))
            out.append(RawMessage(stream, identity, sequence, at, subject, data))
            size += len(data)
            count += 1
            latest = max(latest, arrived)
        self._sequence, self._arrived = self._reached(entries[-1])
        self._reader.taken = entries[-1][0]
        self._reader.taken_bytes += size
        self._latest = latest
        self._count(count)
        return out

    def _reached(self, last: Entry) -> tuple[int, int | None]:
        """Where a resume goes on after: before a gap that is not handed on yet."""
        sequence, arrived, _, data = last
        if self._gap_first is not None:
            return self._gap_first - 1, None
        return sequence, None if data is None else arrived

    def _count(self, count: int) -> None:
        self._messages_in.inc(count)
        if self._latest:
            self._log_time.set(self._latest / 1e9)

    def _stream_identity(self) -> int:
        if self._identity is None:
            self._identity = stream_identity(self._stream, self._reader.created or "")
        return self._identity

    def _report_gap(self, first: int, last: int) -> None:
        if self._gaps and self._gap_first is None:
            self._gap_first = first
        self._gap_messages.inc(last - first + 1)
        log.error(
            "messages are gone from the stream before they were read",
            stream=self._stream,
            first=first,
            last=last,
            count=last - first + 1,
            remedy="raise max_age_s or max_bytes of the stream (WATCHKEEPER_STREAMS)",
        )

    def snapshot(self) -> dict[str, Any]:
        """The last message handed on, whole: never between a tick and its message."""
        reached, back_since = (None, None) if self._clock is None else (self._clock.reached, self._clock.back_since)
        return {
            "v": SNAPSHOT_VERSION,
            "stream": self._stream,
            "created": self._reader.created,
            "sequence": self._sequence,
            "arrived": self._arrived,
            "second": None if reached is None else reached.isoformat(),
            "back_since": None if back_since is None else back_since.isoformat(),
        }

    def close(self) -> None:
        """Stop reading and close the connection."""
        background().soon(self._reader.finish)
        try:
            self._work.exception(CLOSE_S)
        except TimeoutError:
            self._work.cancel()
            log.warning("connection did not close in time", stream=self._stream)
