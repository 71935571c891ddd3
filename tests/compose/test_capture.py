"""A capture holds what the live flow saw, to the microsecond, and leaves no half file behind."""

import threading
from pathlib import Path

import pytest

from compose.capture import capture_to
from operators.capture import CaptureError, CapturePartition, read_capture
from operators.jetstream import JetStreamSource, NatsAwayError, NatsConfig
from operators.observability import FlowMetrics
from schemas.event import RawMessage
from tests.support.nats import Server, free_port, until

pytestmark = pytest.mark.e2e


def test_a_capture_gives_the_messages_and_ticks_that_live_gave(nats_server: Server, tmp_path: Path) -> None:
    nats_server.create("TELEMETRY", "logs.>")
    nats_server.publish([("logs.a", f"line {n}".encode()) for n in range(300)] + [("logs.b", b"\xff\x00")])
    file = tmp_path / "out.ndjson"
    assert capture_to(nats_server.config, file, stream="TELEMETRY", first=1, count=None) == 301
    stop = threading.Event()
    source = JetStreamSource(nats_server.config, ["TELEMETRY"], metrics=FlowMetrics("test"), stop=stop, ticks=True)
    part = source.build_part("s", "TELEMETRY", None)
    live: list[RawMessage] = []

    def has_all() -> bool:
        live.extend(part.next_batch())
        return sum(not raw.tick for raw in live) == 301

    until(has_all, what="all messages")
    stop.set()
    part.close()
    replayed = CapturePartition([file], lambda: 1000, lambda read: None, None).next_batch()
    assert replayed == live


def test_part_of_a_stream(nats_server: Server, tmp_path: Path) -> None:
    nats_server.create("TELEMETRY", "logs.>")
    nats_server.publish([("logs.a", b"x")] * 20)
    file = tmp_path / "out.ndjson"
    assert capture_to(nats_server.config, file, stream="TELEMETRY", first=5, count=3) == 3
    assert [line.sequence for line in read_capture(file)] == [5, 6, 7]


def test_a_file_that_cannot_be_written_and_a_nats_that_is_away(nats_server: Server, tmp_path: Path) -> None:
    nats_server.create("TELEMETRY", "logs.>")
    with pytest.raises(CaptureError, match="cannot be written"):
        capture_to(nats_server.config, tmp_path / "nowhere" / "x", stream="TELEMETRY", first=1, count=None)
    away = NatsConfig(f"nats://127.0.0.1:{free_port()}")
    with pytest.raises(NatsAwayError, match="cannot be reached"):
        capture_to(away, tmp_path / "x", stream="TELEMETRY", first=1, count=None)
    assert list(tmp_path.glob("x*")) == []
