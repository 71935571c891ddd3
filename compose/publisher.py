"""Publishes telemetry in the background: survives NATS restarts, never holds anything up."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsClientError

from operators.jetstream.connection import NatsConfig

Item = tuple[str, dict[str, Any] | list[dict[str, Any]]]
Produce = Callable[[datetime], Sequence[Item]]

CONNECT_TIMEOUT_S: Final = 10.0
PUBLISH_TIMEOUT_S: Final = 5.0
RECONNECT_WAIT_S: Final = 0.5
STOP_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


class Publisher:
    """Asks produce for telemetry each period and publishes it to JetStream, from a thread of its own.

    One message an item, JSON, Nats-Msg-Id the tracking_id of its first entry, so that a retry is not
    a second message. Each publish is tried twice, 5 s each; what fails then is dropped and counted in
    failed: simulated and scraped telemetry is worth less than a publisher that hangs. At most one
    period's items are in flight. clock is asked for the time of each round.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Client]],
        produce: Produce,
        period_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.sent = 0
        self.failed = 0
        self.error: Exception | None = None
        self._connect = connect
        self._produce = produce
        self._period_s = period_s
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"publish-{name}", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End after the round in hand; True when the thread ended in time."""
        self._stopping.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has closed: the thread is ending by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            self.error = error
            log.error("publisher_failed", publisher=self.name, error=str(error), exc_info=error)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._stopping.is_set():
            return
        client = await self._connected()
        if client is None:
            return
        try:
            await self._rounds(client)
        finally:
            await client.close()

    async def _connected(self) -> Client | None:
        """A connection, however long it takes; None when asked to stop first."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            while not self._stop.is_set():
                attempt = asyncio.ensure_future(self._connect())
                await asyncio.wait((attempt, stopped), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
                try:
                    if attempt.done():
                        return attempt.result()
                    await _cancel(attempt)
                    reason = f"no answer within {CONNECT_TIMEOUT_S:g} s"
                except (NatsClientError, OSError) as error:
                    reason = str(error)
                if not self._stop.is_set():
                    log.warning("publisher_waits_for_nats", publisher=self.name, reason=reason)
                    await self._pause(1.0)
        finally:
            stopped.cancel()
        return None

    async def _rounds(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stop.is_set():
            items = self._produce(self._clock())
            results = await asyncio.gather(*(self._publish(client, item) for item in items))
            self.sent += sum(results)
            lost = len(results) - sum(results)
            if lost:
                self.failed += lost
                log.warning("telemetry_dropped", publisher=self.name, messages=lost, reason="NATS did not answer")
            due = max(due + self._period_s, loop.time())
            await self._pause(due - loop.time())

    async def _publish(self, client: Client, item: Item) -> bool:
        subject, payload = item
        first = payload[0] if isinstance(payload, list) else payload
        tracking_id = first.get("tracking_id")
        headers = {"Nats-Msg-Id": tracking_id} if tracking_id else None
        data = json.dumps(payload, separators=(",", ":")).encode()
        for _ in range(2):
            try:
                await client.jetstream().publish(subject, data, timeout=PUBLISH_TIMEOUT_S, headers=headers)
            except (TimeoutError, NatsClientError, OSError) as error:
                log.debug("publish_failed", publisher=self.name, subject=subject, error=str(error))
            else:
                return True
            if self._stop.is_set():
                break
        return False

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(seconds, 0.0))


async def _cancel(attempt: asyncio.Future[Client]) -> None:
    """Give an attempt up; one that succeeds in this very moment is closed."""
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        client = await attempt
        await client.close()


def connector(config: NatsConfig, name: str) -> Callable[[], Awaitable[Client]]:
    """How a publisher connects: it reconnects for ever and holds little back meanwhile."""

    async def connect() -> Client:
        return await nats.connect(
            servers=config.servers,
            name=f"watchkeeper-{name}",
            user=config.user,
            password=config.password,
            user_credentials=config.credentials,
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,
            pending_size=1024 * 1024,
            error_cb=said,
        )

    async def said(error: Exception) -> None:
        log.debug("publisher_connection", publisher=name, error=str(error))

    return connect
