"""The half of the source that lives on the background loop: connects, checks, pulls, beats."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as ClientError

from operators.jetstream.ack import Delivery, arrival_time
from operators.jetstream.connection import (
    Backoff,
    JetStreamRefusedError,
    Link,
    NatsAwayError,
    NatsConfig,
    NatsError,
    open_link,
    sleep_unless,
)
from operators.jetstream.pull import BUFFER_BYTES, Pull, PullBrokenError
from operators.jetstream.streams import StreamState, stored_at, stream_state
from operators.observability import FlowMetrics
from schemas.ops import OpsTick

TICK_SUBJECT = "ops.tick"
TICK_S = 1.0
LOOK_S = 2.0
"""How often the end of the stream is asked for while nothing is delivered for want of room."""

log = structlog.get_logger()

Entry = tuple[int, int, str, bytes | None]
"""(sequence, arrival in ns, subject, data); data None: messages from `arrival in ns` to sequence are missing."""


class Reader:
    """Fills a deque from one stream, across reconnects, each message once and in order.

    The loop's thread fills entries, the worker's thread empties it with popleft and counts what it
    took in taken_bytes and taken (the last sequence). State: what waits in the deque (window messages, 96 MiB at most).
    """

    def __init__(
        self,
        config: NatsConfig,
        stream: str,
        *,
        window: int,
        metrics: FlowMetrics,
        stop: threading.Event,
        heartbeat_ship: str | None,
        subjects: Sequence[str] = (),
    ) -> None:
        self.entries: deque[Entry] = deque()
        self.taken_bytes = 0
        self.taken: int | None = None
        self.created: str | None = None
        self.stream_end = 0
        self.connected = False
        self._received: int | None = None
        self._arrived: int | None = None
        self._received_bytes = 0
        self._config = config
        self._stream = stream
        self._window = window
        self._flow = metrics.flow
        self._subjects = subjects
        self._stop = stop
        self._closing = False
        self._ship = heartbeat_ship
        self._gauge = metrics.nats_connected.labels(stream=stream)
        self._gauge.set(0)
        self._pull: Pull | None = None
        self._backoff = Backoff()

    def resume(self, created: str | None, after: int | None, arrived: int | None = None) -> None:
        """Go on after a sequence, which arrived then, of the stream created at that time; before run()."""
        self.created = created
        self._received = after
        self._arrived = arrived

    @property
    def wants_wake(self) -> bool:
        """Whether reading paused for want of room and there is room again."""
        pull = self._pull
        return (
            pull is not None
            and pull.starved
            and len(self.entries) <= self._window // 2
            and self._received_bytes - self.taken_bytes < BUFFER_BYTES
        )

    @property
    def behind(self) -> int:
        """How many messages of the stream the flow has not taken in, as far as is known; also while it stands still."""
        return 0 if self.taken is None else max(0, self.stream_end - self.taken)

    def wake(self) -> None:
        """Look again at once. Only on the loop."""
        if self._pull is not None:
            self._pull.wake()

    def finish(self) -> None:
        """End run() soon. Only on the loop."""
        self._closing = True
        self.wake()

    def _done(self) -> bool:
        return self._closing or self._stop.is_set()

    async def run(self) -> None:
        """Read until finish() or stop.

        Raises:
            NatsError: when going on would be wrong: refused, stream deleted, another stream.
        """
        while not self._done():
            try:
                await self._connect_and_read()
            except NatsAwayError as error:
                pause_s = self._backoff.next_s()
                log.warning(f"{error}; trying again in {pause_s:.1f} s", stream=self._stream)
                await sleep_unless(self._stop, pause_s)

    async def _connect_and_read(self) -> None:
        link = await open_link(self._config, f"watchkeeper-read-{self._stream}")
        beside = asyncio.gather(self._beat(link), self._follow_end(link))
        try:
            while not self._done():
                await self._read(link)
        finally:
            self._connect_flag(False)
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
            await link.close()

    async def _read(self, link: Link) -> None:
        state = await stream_state(link, self._stream)
        after = self._check(state)
        await self._check_last(link, state)
        self._connect_flag(True)
        self._pull = pull = Pull(link, self._stream, after, self, window=self._window, subjects=self._subjects)
        started = asyncio.get_running_loop().time()
        try:
            await pull.run(self._done)
        except PullBrokenError as error:
            if not link.is_open:
                raise
            log.info("reading goes on with a new consumer", stream=self._stream, after=self._received, cause=str(error))
            await sleep_unless(self._stop, self._backoff.next_s())
        finally:
            self._pull = None
            if asyncio.get_running_loop().time() - started > 2.0:
                self._backoff.reset()

    def _check(self, state: StreamState) -> int:
        """Make sure that this is the stream we know; return the sequence to read after."""
        where = f"stream {self._stream} at {self._config.shown}"
        if self.created is not None and self.created != state.created:
            raise NatsError(
                f"{where} was recreated (created {state.created}, known {self.created}); the recovery store belongs "
                f"to the old one: restore that stream, or begin with the new one: watchkeeper recover {self._flow}"
            )
        self.created = state.created
        if self._received is None:
            self._received = max(0, state.first - 1)
        if self.taken is None:
            self.taken = self._received
        if self._received > state.last:
            raise NatsError(
                f"{where} ends at {state.last} but {self._received} was read already: it lost messages or was "
                "restored from an older copy; restore it, or rebuild the state from what is there: "
                f"watchkeeper recover {self._flow}"
            )
        self.stream_end = max(self.stream_end, state.last)
        if state.first > self._received + 1:
            self._missing(state.first)
        return self._received

    async def _check_last(self, link: Link, state: StreamState) -> None:
        """Make sure that the last message read is still the one we read: a stream restored from an older copy grows."""
        last, known = self._received, self._arrived
        if known is None or last is None or not state.first <= last <= state.last:
            return
        found = await stored_at(link, self._stream, last)
        if found is not None and found != arrival_time(known):
            raise NatsError(
                f"stream {self._stream} at {self._config.shown} has another message at {last} (arrived {found}) than "
                f"the one that was read (arrived {arrival_time(known)}): it was restored from an older copy and has "
                f"grown since; rebuild the state from what is there: watchkeeper recover {self._flow}"
            )

    def _missing(self, next_sequence: int) -> None:
        """Note that nothing will come before next_sequence."""
        first = (self._received or 0) + 1
        self._received = next_sequence - 1
        self._arrived = None
        self.entries.append((next_sequence - 1, first, "", None))

    def take(self, delivery: Delivery, msg: Msg) -> None:
        """Keep one message, and before it the note of what is missing, if anything is."""
        sequence = delivery.sequence
        # of some subjects only, what lies between is not ours
        if sequence != (self._received or 0) + 1 and not self._subjects:
            self._missing(sequence)
        self._received = sequence
        self._arrived = delivery.arrived
        self.stream_end = sequence + delivery.pending
        data = msg.data
        self._received_bytes += len(data)
        self.entries.append((sequence, delivery.arrived, msg.subject, data))

    def held(self) -> tuple[int, int]:
        """What waits in the deque: messages, bytes."""
        return len(self.entries), self._received_bytes - self.taken_bytes

    def _connect_flag(self, connected: bool) -> None:
        self.connected = connected
        self._gauge.set(1 if connected else 0)

    async def _beat(self, link: Link) -> None:
        """Publish a tick each second, while connected."""
        if self._ship is None:
            return
        tick = OpsTick(ship_id=self._ship).to_json()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while link.is_open:
            if not self.connected:  # nothing is added to a stream that may be the wrong one
                await asyncio.sleep(0.02)
                continue
            try:
                await link.client.publish(TICK_SUBJECT, tick)
            except ClientError as error:
                log.debug("tick not sent", problem=str(error))
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _follow_end(self, link: Link) -> None:
        """Know how far the stream has grown while the flow takes nothing in: deliveries say it otherwise."""
        while link.is_open:
            await asyncio.sleep(LOOK_S)
            if self._pull is None or not self._pull.starved:
                continue
            try:
                self.stream_end = max(self.stream_end, (await stream_state(link, self._stream)).last)
            except (NatsError, NatsAwayError, JetStreamRefusedError) as error:
                log.debug("end of the stream not known", stream=self._stream, problem=str(error))
