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
    def __init__(self, last: int, found: Callable[[str, int], None]) -> None:
        self.found = found
        self.count = 0
        self.seen = 0
        self.last = last
        self.pull: Pull | None = None

    def take(self, delivery: Delivery, msg: Msg) -> None:
        self.seen = delivery.sequence
        msg_id = (msg.headers or {}).get("Nats-Msg-Id")
        if msg_id is not None:
            self.count += 1
            self.found(msg_id, delivery.sequence)
        if delivery.sequence >= self.last and self.pull is not None:
            self.pull.wake()

    def held(self) -> tuple[int, int]:
        return 0, 0


async def read_ids(
    link: Link, stream: str, after: int, last: int, found: Callable[[str, int], None], on_progress: Callable[[], None]
) -> int:
    """Read the Nats-Msg-Ids after one sequence up to at least `last`; return the last sequence read.

    found is told each with its sequence, in order, and nothing is kept here: a stream may hold
    millions. on_progress is called now and then while more is being read.

    Raises:
        NatsAwayError: when it cannot be finished; start again.
    """
    if after >= last:
        return last
    ids = _Ids(last, found)
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
            log.info("reading back what was published", stream=stream, at=ids.seen, last=last, ids=ids.count)
        return pull.at_end or ids.seen >= last

    await pull.run(done)
    if loop.time() - started > PROGRESS_S:
        log.info("read back what was published", stream=stream, ids=ids.count, seconds=loop.time() - started)
    return max(last, ids.seen)
