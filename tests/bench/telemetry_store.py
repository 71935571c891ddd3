"""A real nats-server with a backlog in its TELEMETRY, for benchmarks."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from nats.aio.client import Client

from operators.jetstream import ensure_streams
from operators.observability import configure_logging
from schemas.settings import Settings
from tests.bench.telemetry_load import ShipLoad
from tests.support.nats import Server

CHUNK = 2000
"""Messages between two acknowledgements; the server queues 10,000 at most."""


@contextmanager
def store(sync: str = "2m") -> Iterator[Server]:
    """A server with the shipped streams (file storage) in a folder that goes away afterwards.

    sync: its sync_interval; "always" is what ships, and slow for a backlog that is written only to be read.
    """
    configure_logging("warning")
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        server = Server(Path(folder) / "nats")
        server.sync_interval = sync
        server.start()
        try:
            make_streams(server)
            yield server
        finally:
            server.kill()


def make_streams(server: Server) -> None:
    """The streams as shipped."""
    ensure_streams(server.config, Settings().stream_table(), stop=Event())


def fill(server: Server, load: ShipLoad, count: int) -> int:
    """Publish the first so many messages, each as of now; the last sequence of TELEMETRY, which must have them all."""

    async def work(client: Client) -> None:
        for number in range(count):
            message = load.message(number, datetime.now(UTC))
            if number % CHUNK:
                await client.publish(message.subject, message.data)
            else:
                await client.request(message.subject, message.data, timeout=30)
        await client.flush()

    wanted = server.last_sequence("TELEMETRY") + count
    server.run(work)
    asyncio.run(_until_there(server, wanted))
    return wanted


async def _until_there(server: Server, wanted: int) -> None:
    for _ in range(200):
        with suppress(AssertionError):
            if await asyncio.to_thread(server.last_sequence, "TELEMETRY") >= wanted:
                return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"TELEMETRY ends before {wanted}: the server lost messages")


def forget_outputs(server: Server) -> None:
    """Make every stream but TELEMETRY anew, so that the next run publishes afresh."""
    for name in Settings().stream_table():
        if name != "TELEMETRY":
            server.api(f"STREAM.DELETE.{name}")
    make_streams(server)
