"""Publishes telemetry in the background: survives NATS restarts, never holds anything up."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from nats.errors import Error as ClientError

from operators.jetstream import Link, NatsAwayError, NatsConfig, open_link
from operators.jetstream.connection import Backoff

Item = tuple[str, dict[str, Any] | list[dict[str, Any]]]
Produce = Callable[[datetime], Sequence[Item]]

PUBLISH_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 12.0

log = structlog.get_logger()


class Publisher:
    """Asks produce for telemetry each period and publishes it to JetStream, from a thread of its own.

    One message an item, JSON, Nats-Msg-Id the tracking_id of its first entry, so that a retry is not
    a second message. While NATS is away it waits for it (0.2 s up to 5 s between tries) with the
    items in hand. What is not acknowledged within 5 s is published once more, then dropped and
    counted in failed: simulated and scraped telemetry is worth less than a publisher that hangs.
    clock is asked for the time of each round. error is what it died of, None while it is well.
    """

    def __init__(
        self,
        name: str,
        config: NatsConfig,
        produce: Produce,
        period_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.sent = 0
        self.failed = 0
        self.error: Exception | None = None
        self._config = config
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
        link: Link | None = None
        due = self._loop.time()
        try:
            while not self._stop.is_set():
                items = self._produce(self._clock())
                for _ in range(2):
                    link = await self._connected(link)
                    items = await self._send(link, items) if link else items
                self._count_lost(len(items))
                due = max(due + self._period_s, self._loop.time())
                await self._pause(due - self._loop.time())
        finally:
            if link is not None:
                await link.close()

    async def _connected(self, link: Link | None) -> Link | None:
        """An open connection, however long it takes; None when asked to stop first."""
        if link is not None:
            if link.is_open:
                return link
            await link.close()
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                return await open_link(self._config, f"watchkeeper-{self.name}")
            except NatsAwayError as error:
                pause_s = backoff.next_s()
                log.warning(f"{error}; trying again in {pause_s:.1f} s", publisher=self.name)
                await self._pause(pause_s)
        return None

    async def _send(self, link: Link, items: Sequence[Item]) -> list[Item]:
        """Publish all at once; return what was not acknowledged."""
        acknowledged = await asyncio.gather(*(self._publish(link, item) for item in items))
        self.sent += sum(acknowledged)
        return [item for item, good in zip(items, acknowledged, strict=True) if not good]

    async def _publish(self, link: Link, item: Item) -> bool:
        subject, payload = item
        first = payload[0] if isinstance(payload, list) else payload
        headers = {"Nats-Msg-Id": first["tracking_id"]} if "tracking_id" in first else None
        data = json.dumps(payload, separators=(",", ":")).encode()
        try:
            await link.client.jetstream().publish(subject, data, timeout=PUBLISH_TIMEOUT_S, headers=headers)
        except (ClientError, OSError) as error:
            log.debug("publish_failed", publisher=self.name, subject=subject, error=str(error))
            return False
        return True

    def _count_lost(self, lost: int) -> None:
        if lost:
            self.failed += lost
            log.warning("telemetry_dropped", publisher=self.name, messages=lost, reason="NATS did not acknowledge it")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(seconds, 0.0))
