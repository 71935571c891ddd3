"""Publishes to JetStream streams: acknowledged before the epoch commits, in order, each message once."""

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from operators.jetstream.background import background
from operators.jetstream.connection import NatsConfig, NatsError
from operators.jetstream.publisher import Publisher
from operators.observability import FlowMetrics
from schemas.event import Outgoing

CAPACITY = 10_000
CAPACITY_BYTES = 64 * 1024 * 1024
STOP_S = 4.0
CLOSE_S = 8.0

now_utc = partial(datetime.now, UTC)


class JetStreamSink(FixedPartitionedSink[Outgoing, dict[str, Any]]):
    """Streams of JetStream as a sink, one partition a stream; takes (stream name, Outgoing).

    Writing goes on in the background; snapshot() and close() wait until everything is acknowledged,
    so an epoch commits only after its data. Order is kept in each stream, also across retries. On
    resume, and after each reconnect, the stream is read back, so that nothing is published twice,
    however long ago the first time was. While NATS is away it tries again for at most wait_s
    seconds without progress (4 s once stop is set). What is too large for the server is left out,
    counted (publish_refused) and logged.

    Resume state: {"v": 1, "sequence"}: where reading back begins. clock gives now for the latency
    (fast_path) of messages with observed_at.

    Raises:
        NatsError: from write_batch, snapshot and close, when NATS refuses us or stays away too long.
    """

    def __init__(
        self,
        config: NatsConfig,
        streams: Iterable[str],
        *,
        metrics: FlowMetrics,
        wait_s: float,
        stop: threading.Event,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._config = config
        # Bytewax numbers the partitions by their sorted names
        self._streams = sorted(set(streams))
        if not self._streams:
            raise ValueError("streams is empty, expected the names of the streams to publish to")
        self._metrics = metrics
        self._wait_s = wait_s
        self._stop = stop
        self._clock = clock

    def list_parts(self) -> list[str]:
        """The stream names."""
        return list(self._streams)

    def part_fn(self, item_key: str) -> int:
        """The partition of a stream, by its name.

        Raises:
            NatsError: when the name is none of the streams.
        """
        try:
            return self._streams.index(item_key)
        except ValueError:
            raise NatsError(
                f"message for stream {item_key!r}, but this sink publishes to {', '.join(self._streams)}: "
                "name the stream where the sink is made"
            ) from None

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "JetStreamSinkPart":
        """Begin to serve one stream in the background; returns at once, also while NATS is away."""
        state = resume_state or {"v": 1, "sequence": 0}
        if state.get("v") != 1:
            raise NatsError(
                f"recovery state of output stream {for_part} is {state!r}, expected version 1: it was written by "
                f"another version; start that one, or rebuild the state: watchkeeper recover {self._metrics.flow}"
            )
        publisher = Publisher(self._config, for_part, int(state["sequence"]), metrics=self._metrics, clock=self._clock)
        return JetStreamSinkPart(publisher, for_part, self._config, self._wait_s, self._stop)


class JetStreamSinkPart(StatefulSinkPartition[Outgoing, dict[str, Any]]):
    """One stream's partition: hands over to its Publisher, and waits for it when it must.

    At most 10,000 messages or 64 MiB wait; then write_batch blocks.
    """

    def __init__(
        self, publisher: Publisher, stream: str, config: NatsConfig, wait_s: float, stop: threading.Event
    ) -> None:
        self._publisher = publisher
        self._stream = stream
        self._config = config
        self._wait_s = wait_s
        self._stop = stop
        self._accepted = 0
        self._bytes = 0
        self._work = background().spawn(publisher.run())
        # a flow that crashes never calls close(): end the publishing when the partition is forgotten
        weakref.finalize(self, background().soon, publisher.finish).atexit = False

    def write_batch(self, values: list[Outgoing]) -> None:
        """Hand over messages; blocks while too many wait.

        Raises:
            NatsError: when NATS refuses us or stays away too long.
        """
        publisher = self._publisher
        for value in values:
            if value.stream != self._stream:
                raise NatsError(
                    f"message for stream {value.stream!r} arrived at stream {self._stream!r}: "
                    "key each message with the name of its stream"
                )
        if not self._waiting():
            # nothing was due, so the time without progress begins now
            publisher.progress_at = time.monotonic()
            self._bytes = 0
        publisher.incoming.extend(values)
        self._accepted += len(values)
        self._bytes += sum(len(value.data) for value in values)
        background().soon(publisher.wake)
        self._check(self._stop_seen())
        if self._bytes > CAPACITY_BYTES:
            self._wait_until(0)
        elif self._waiting() > CAPACITY:
            self._wait_until(CAPACITY // 2)

    def snapshot(self) -> dict[str, Any]:
        """Wait until everything is acknowledged; then where a resume begins to read back.

        Raises:
            NatsError: when NATS refuses us or stays away too long.
        """
        self._wait_until(0)
        return {"v": 1, "sequence": self._publisher.sequence}

    def close(self) -> None:
        """Wait until everything is acknowledged, then close the connection.

        Raises:
            NatsError: when NATS refuses us or stays away too long.
        """
        self._wait_until(0)
        background().soon(self._publisher.finish)
        try:
            self._work.exception(CLOSE_S)
        except TimeoutError:
            self._work.cancel()

    def _waiting(self) -> int:
        return self._accepted - self._publisher.finished

    def _stop_seen(self) -> float | None:
        return time.monotonic() if self._stop.is_set() else None

    def _wait_until(self, left: int) -> None:
        """Wait until at most left messages are unacknowledged."""
        stopped_at = self._stop_seen()
        with self._publisher.changed:
            while self._waiting() > left:
                self._check(stopped_at)
                self._publisher.changed.wait(0.25)
                stopped_at = stopped_at or self._stop_seen()
        if left == 0:
            self._bytes = 0

    def _check(self, stopped_at: float | None) -> None:
        """Give up when the publisher has ended, or nothing has moved for too long."""
        if self._work.done() and (error := self._work.exception()) is not None:
            raise error
        if not self._waiting():
            return
        now = time.monotonic()
        still_s = now - self._publisher.progress_at
        if still_s > self._wait_s:
            self._give_up(f"for {self._wait_s:g} s")
        if stopped_at is not None and min(still_s, now - stopped_at) > STOP_S:
            self._give_up("and the flow is stopping")
        if self._work.done():
            self._give_up("and publishing has ended")

    def _give_up(self, why: str) -> None:
        background().soon(self._publisher.finish)
        raise NatsError(
            f"stream {self._stream} at {self._config.shown}: {self._waiting()} messages not acknowledged {why} "
            f"(last problem: {self._publisher.problem or 'none'}); correct that and start again, nothing is lost"
        )
