import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import pytest

from compose.nats_server import NatsServer, free_port
from compose.publisher import Publisher
from operators.jetstream import NatsConfig, ensure_streams
from schemas.settings import default_streams

TABLE = {"TELEMETRY": default_streams()["TELEMETRY"]}


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path, free_port())
    made.start()
    ensure_streams(NatsConfig(made.url), TABLE, wait_s=10)
    yield made
    made.stop()


def stored(url: str) -> list[tuple[str, str | None]]:
    """(subject, Nats-Msg-Id) of everything in TELEMETRY."""

    async def look() -> list[tuple[str, str | None]]:
        client = await nats.connect(url)
        try:
            js = client.jetstream()
            last = (await js.stream_info("TELEMETRY")).state.last_seq
            found = [await js.get_msg("TELEMETRY", seq) for seq in range(1, last + 1)]
            return [(str(m.subject), (m.headers or {}).get("Nats-Msg-Id")) for m in found]
        finally:
            await client.close()

    return asyncio.run(look())


class Numbers:
    """One message a round, each with an id of its own."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, at: datetime) -> list[tuple[str, dict[str, Any] | list[dict[str, Any]]]]:
        self.ids.append(str(uuid4()))
        return [("metrics.ingested.system.box", [{"tracking_id": self.ids[-1]}, {"tracking_id": "second"}])]


def test_each_item_is_one_message_under_its_first_id(server: NatsServer) -> None:
    numbers = Numbers()
    publisher = Publisher("test", NatsConfig(server.url), numbers, 0.05)
    publisher.start()
    wait_until(lambda: publisher.sent >= 3)
    assert publisher.stop()
    assert stored(server.url) == [("metrics.ingested.system.box", tracking_id) for tracking_id in numbers.ids]
    assert (publisher.error, publisher.failed) == (None, 0)


def test_goes_on_after_a_restart_of_nats_and_doubles_nothing(server: NatsServer, tmp_path: Path) -> None:
    publisher = Publisher("test", NatsConfig(server.url), Numbers(), 0.05)
    publisher.start()
    wait_until(lambda: publisher.sent >= 3)
    server.stop()
    again = NatsServer(tmp_path, server.port)
    again.start()
    try:
        before = publisher.sent
        wait_until(lambda: publisher.sent >= before + 3)
        assert publisher.stop()
        ids = [msg_id for _, msg_id in stored(again.url)]
        assert len(ids) == len(set(ids)) >= publisher.sent
    finally:
        again.stop()


def test_stop_does_not_wait_for_a_nats_that_is_not_there() -> None:
    numbers = Numbers()
    publisher = Publisher("test", NatsConfig(f"nats://127.0.0.1:{free_port()}"), numbers, 0.05)
    publisher.start()
    wait_until(lambda: bool(numbers.ids))
    assert publisher.stop()
    assert (publisher.sent, publisher.failed, publisher.error) == (0, 1, None)


def test_stop_before_start_of_the_loop_is_kept() -> None:
    publisher = Publisher("test", NatsConfig("nats://127.0.0.1:1"), Numbers(), 0.05)
    publisher._stopping.set()
    publisher.start()
    assert publisher.stop()


def test_producer_that_fails_is_reported(server: NatsServer) -> None:
    def fail(at: datetime) -> list[Any]:
        raise ZeroDivisionError("no reading")

    publisher = Publisher("test", NatsConfig(server.url), fail, 0.05)
    publisher.start()
    wait_until(lambda: publisher.error is not None)
    assert isinstance(publisher.error, ZeroDivisionError)
    assert publisher.stop()
