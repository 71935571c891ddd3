"""Reads back which messages a stream holds: their ids, without their data."""

import asyncio
from collections.abc import Callable

import structlog
from nats.aio.msg import Msg

from operators.jetstream.ack import Delivery
from operators.jetstream.connection import Link
from operators.jetstream.pull import Pull

WINDOW = 8192
PROGRESS_S = 5.0

log = structlog.get_logger()


class _Ids:
    def __init__(self, last: int) -> None:
        self.found: list[tuple[str, int]] = []
        self.seen = 0
        self.last = last
        self.pull: Pull | None = None

    def take(self, delivery: Delivery, msg: Msg) -> None:
        self.seen = delivery.sequence
        msg_id = (msg.headers or {}).get("Nats-Msg-Id")
        if msg_id is not None:
            self.found.append((msg_id, delivery.sequence))
        if delivery.sequence >= self.last and self.pull is not None:
            self.pull.wake()

    def held(self) -> tuple[int, int]:
        return 0, 0


async def read_ids(
    link: Link, stream: str, after: int, last: int, on_progress: Callable[[], None]
) -> list[tuple[str, int]]:
    """The Nats-Msg-Ids after one sequence up to at least `last`, each with its sequence, in order.

    on_progress is called now and then while more is being read.

    Raises:
        NatsAwayError: when it cannot be finished; start again.
    """
    if after >= last:
        return []
    ids = _Ids(last)
    ids.pull = pull = Pull(link, stream, after, ids, window=WINDOW, headers_only=True)
    loop = asyncio.get_running_loop()
    started = reported = loop.time()
    seen = 0

    def done() -> bool:
        nonlocal reported, seen
        if ids.seen > seen:
            seen = ids.seen
            on_progress()
        if loop.time() - reported > PROGRESS_S:
            reported = loop.time()
            log.info("reading back what was published", stream=stream, at=ids.seen, last=last, ids=len(ids.found))
        return pull.at_end or ids.seen >= last

    await pull.run(done)
    if loop.time() - started > PROGRESS_S:
        log.info("read back what was published", stream=stream, ids=len(ids.found), seconds=loop.time() - started)
    return ids.found
