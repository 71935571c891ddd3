import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
import structlog
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSource
from nats.aio.client import Client

from operators.jetstream import JetStreamSink, JetStreamSource, NatsError, background
from operators.jetstream.sink import JetStreamSinkPart
from operators.observability import FlowMetrics
from schemas.event import Outgoing, RawMessage
from tests.support.nats import Server, until

pytestmark = pytest.mark.e2e

Open = Callable[..., JetStreamSinkPart]
WINDOW_NS = 100_000_000
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def open_part(nats_server: Server, metrics: FlowMetrics, stop: threading.Event) -> Iterator[Open]:
    parts: list[JetStreamSinkPart] = []

    def build(resume: dict[str, Any] | None = None, wait_s: float = 30.0) -> JetStreamSinkPart:
        sink = JetStreamSink(nats_server.config, ["S"], metrics=metrics, wait_s=wait_s, stop=stop, clock=lambda: NOW)
        part = sink.build_part("out", "S", resume)
        parts.append(part)
        return part

    yield build
    for part in parts:
        background().soon(part._publisher.finish)


def out(number: int, **fields: Any) -> Outgoing:
    return Outgoing("S", "s.created", f"id-{number}", str(number).encode(), **fields)


def outs(first: int, last: int) -> list[Outgoing]:
    return [out(number) for number in range(first, last + 1)]


def stored(server: Server, name: str = "S") -> list[int]:
    return [int(data) for _, subject, _, data in server.read(name) if subject != "s.other"]


def value(metrics: FlowMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"watchkeeper_{name}", labels or {"stream": "S"}) or 0.0


def outlive_duplicate_window(server: Server) -> None:
    """Publish under one id until the server takes it a second time: all older ids are forgotten too."""

    async def work(client: Client) -> None:
        context = client.jetstream()
        taken = 0
        while taken < 2:
            ack = await context.publish("s.other", b"0", headers={"Nats-Msg-Id": "probe"})
            taken += 0 if ack.duplicate else 1
            await asyncio.sleep(0.02)

    server.run(work)


def test_a_snapshot_says_that_everything_is_stored(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    part.write_batch([out(1, tracking_id="tid-1"), out(2)])
    assert part.snapshot() == {"v": 1, "sequence": 2}
    first, second = nats_server.read("S")
    assert first[1:] == (
        "s.created",
        {
            "Nats-Msg-Id": "id-1",
            "Nats-Expected-Stream": "S",
            "Watchkeeper-Tracking-Id": "tid-1",
            "Nats-Expected-Last-Sequence": "0",
        },
        b"1",
    )
    assert second[2] == {
        "Nats-Msg-Id": "id-2",
        "Nats-Expected-Stream": "S",
        "Nats-Expected-Last-Sequence": "1",
        "Nats-Expected-Last-Msg-Id": "id-1",
    }
    part.write_batch(outs(3, 3000))
    assert part.snapshot() == {"v": 1, "sequence": 3000}
    assert stored(nats_server) == list(range(1, 3001))
    assert value(metrics, "published_total") == 3000
    assert value(metrics, "publish_retries_total") == 0
    part.close()
    assert part._work.done()


def test_close_waits_for_acknowledgement(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    part.write_batch(outs(1, 500))
    part.close()
    assert stored(nats_server) == list(range(1, 501))


def test_each_item_lands_in_the_stream_of_its_key(nats_server: Server, metrics: FlowMetrics) -> None:
    names = ["ZULU", "ALPHA", "MIKE", "BRAVO"]
    items = []
    for name in names:
        nats_server.create(name, f"{name.lower()}.>")
        items += [(name, Outgoing(name, f"{name.lower()}.x", f"{name}-{i}", str(i).encode())) for i in range(5)]
    flow = Dataflow("route")
    sink = JetStreamSink(nats_server.config, names, metrics=metrics, wait_s=10, stop=threading.Event())
    op.output("out", op.input("in", flow, TestingSource(items)), sink)
    cli_main(flow)
    for name in names:
        assert stored(nats_server, name) == [0, 1, 2, 3, 4]
    with pytest.raises(NatsError, match="stream 'OTHER', but this sink publishes to ALPHA, BRAVO, MIKE, ZULU"):
        sink.part_fn("OTHER")


def test_an_item_of_another_stream_is_refused(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    with pytest.raises(NatsError, match="for stream 'T'"):
        open_part().write_batch([Outgoing("T", "t.a", "id", b"")])


@pytest.mark.parametrize("resume", ["older", "none"])
def test_resume_after_the_duplicate_window_publishes_no_second_copy(
    nats_server: Server, open_part: Open, metrics: FlowMetrics, resume: str
) -> None:
    nats_server.create("S", "s.>", duplicate_window=WINDOW_NS)
    part = open_part()
    part.write_batch(outs(1, 5))
    older = part.snapshot()
    part.write_batch(outs(6, 10))
    part.snapshot()
    outlive_duplicate_window(nats_server)

    # what the killed run did after its snapshot is done again, and goes on
    again = open_part(older if resume == "older" else None)
    again.write_batch(outs(6 if resume == "older" else 1, 12))
    state = again.snapshot()
    assert stored(nats_server) == list(range(1, 13))
    assert value(metrics, "publish_skipped_total") == (5 if resume == "older" else 10)
    last = nats_server.last_sequence("S")
    # the other writer's two messages were never claimed: reading back begins before them
    assert older["sequence"] <= state["sequence"] <= last
    third = open_part(state)
    third.write_batch(outs(12, 13))
    third.snapshot()
    assert stored(nats_server) == list(range(1, 14))


def test_without_reading_back_there_would_be_a_second_copy(nats_server: Server) -> None:
    """The window of these tests is really over: the server itself takes the id again."""
    nats_server.create("S", "s.>", duplicate_window=WINDOW_NS)

    async def put(client: Client) -> bool:
        ack = await client.jetstream().publish("s.created", b"1", headers={"Nats-Msg-Id": "id-1"})
        return bool(ack.duplicate)

    assert nats_server.run(put) is False
    outlive_duplicate_window(nats_server)
    assert nats_server.run(put) is False
    assert stored(nats_server) == [1, 1]


def test_kill_and_restart_keeps_the_order_and_doubles_nothing(
    nats_server: Server, open_part: Open, metrics: FlowMetrics
) -> None:
    nats_server.create("S", "s.>", duplicate_window=WINDOW_NS)

    def more_than(goal: float) -> bool:
        return value(metrics, "published_total") > goal

    part = open_part()
    written = 0
    for _ in range(4):
        part.write_batch(outs(written + 1, written + 1500))
        written += 1500
        goal = value(metrics, "published_total") + 200
        until(partial(more_than, goal), what="some of them")
        nats_server.kill()
        part.write_batch(outs(written + 1, written + 100))
        written += 100
        nats_server.start()
    part.snapshot()
    assert stored(nats_server) == list(range(1, written + 1))
    assert value(metrics, "published_total") == written
    assert value(metrics, "publish_retries_total") > 0


def test_order_is_kept_while_a_full_stream_refuses_only_some(nats_server: Server, open_part: Open) -> None:
    """Large ones do not fit, small ones would: none may overtake."""
    nats_server.create("S", "s.>", max_bytes=40_000, discard="new", duplicate_window=WINDOW_NS)
    part = open_part()
    sizes = [9_000 if number % 3 == 0 else 10 for number in range(1, 31)]
    messages = [out(number)._replace(data=str(number).encode() + b" " * size) for number, size in enumerate(sizes, 1)]
    part.write_batch(messages)
    got: list[int] = []

    def emptied() -> bool:
        new = nats_server.read("S")
        if new:
            got.extend(int(data) for _, _, _, data in new)
            nats_server.api("STREAM.PURGE.S", {"seq": new[-1][0] + 1})
        return len(got) == 30

    until(emptied, seconds=40, what="all through a small stream")
    assert got == list(range(1, 31))
    assert part.snapshot()["sequence"] == 30


def test_another_writer_on_the_same_stream_disturbs_nothing(
    nats_server: Server, open_part: Open, metrics: FlowMetrics
) -> None:
    nats_server.create("S", "s.>", duplicate_window=WINDOW_NS)
    halt = threading.Event()

    def disturb() -> None:
        async def work(client: Client) -> None:
            context = client.jetstream()
            while not halt.is_set():
                await asyncio.gather(*[context.publish("s.other", b"0") for _ in range(5)])

        nats_server.run(work)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        until(lambda: nats_server.last_sequence("S") > 60, what="the other one at work")
        part = open_part()
        part.write_batch(outs(1, 300))
        part.snapshot()
    finally:
        halt.set()
        other.join()
    assert stored(nats_server) == list(range(1, 301))
    assert nats_server.last_sequence("S") > 350


def test_a_missing_stream_is_waited_for_then_named(nats_server: Server, open_part: Open) -> None:
    part = open_part(wait_s=1.0)
    part.write_batch(outs(1, 3))
    begin = time.monotonic()
    with pytest.raises(NatsError, match=r"stream S .*3 messages not acknowledged for 1 s.*stream S does not exist"):
        part.snapshot()
    assert time.monotonic() - begin < 4
    with pytest.raises(NatsError):
        until(lambda: part.write_batch(outs(4, 4)), what="the error again")


def test_a_stream_that_appears_in_time_gets_everything(nats_server: Server, open_part: Open) -> None:
    part = open_part()
    part.write_batch(outs(1, 3))
    until(lambda: part._publisher.problem, what="a first refusal")
    nats_server.create("S", "s.>")
    assert part.snapshot()["sequence"] == 3
    assert stored(nats_server) == [1, 2, 3]


def test_a_full_stream_is_named_after_the_wait(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>", max_bytes=1000, discard="new")
    part = open_part(wait_s=1.5)
    part.write_batch([out(number)._replace(data=bytes(400)) for number in range(1, 5)])
    with pytest.raises(NatsError, match=r"stream S .*3 messages.*maximum bytes exceeded"):
        part.snapshot()
    assert value(metrics, "published_total") == 1


def test_a_subject_that_no_stream_takes_is_named(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    part = open_part(wait_s=1.0)
    part.write_batch([out(1)._replace(subject="nobody.listens")])
    with pytest.raises(NatsError, match=r"did not take nobody\.listens"):
        part.snapshot()


def test_too_large_is_left_out_counted_and_logged(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>", max_msg_size=2_000_000)
    part = open_part()
    with structlog.testing.capture_logs() as logs:
        part.write_batch(
            [
                out(1),
                out(2, tracking_id="tid-2")._replace(data=bytes(nats_server.max_payload + 1)),
                out(3, tracking_id="tid-3")._replace(data=bytes(nats_server.max_payload - 100)),
                out(4, tracking_id="tid-4")._replace(data=bytes(3_000_000)),
                out(5, tracking_id="tid-5")._replace(subject="s.no good"),
                out(6),
            ]
        )
        part.snapshot()
    assert stored(nats_server) == [1, 6]
    assert value(metrics, "publish_refused_total") == 4
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert sorted(entry["tracking_id"] for entry in errors) == ["tid-2", "tid-3", "tid-4", "tid-5"]


def test_the_largest_that_fits_goes_through(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    part.write_batch([out(1)._replace(data=bytes(nats_server.max_payload - 250))])
    assert part.snapshot()["sequence"] == 1
    assert value(metrics, "publish_refused_total") == 0


def test_nats_away_is_waited_for_then_raised(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.stop()
    part = open_part(wait_s=1.0)
    part.write_batch(outs(1, 2))
    with pytest.raises(NatsError, match=r"2 messages not acknowledged for 1 s .*cannot be reached"):
        part.snapshot()


def test_nats_that_comes_back_gets_everything(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.stop()
    part = open_part()
    part.write_batch(outs(1, 2))
    until(lambda: part._publisher.problem, what="a first failure")
    nats_server.start()
    assert part.snapshot()["sequence"] == 2


def test_stop_does_not_hang_on_an_absent_nats(nats_server: Server, open_part: Open, stop: threading.Event) -> None:
    nats_server.create("S", "s.>")
    part = open_part(wait_s=300)
    part.write_batch(outs(1, 2))
    part.snapshot()
    nats_server.stop()
    part.write_batch(outs(3, 4))
    stop.set()
    begin = time.monotonic()
    with pytest.raises(NatsError, match=r"2 messages not acknowledged and the flow is stopping"):
        part.snapshot()
    assert time.monotonic() - begin < 5


def test_an_idle_hour_does_not_count_as_waiting(
    nats_server: Server, open_part: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats_server.create("S", "s.>")
    part = open_part(wait_s=5)
    part.write_batch(outs(1, 1))
    part.snapshot()
    part._publisher.progress_at -= 3600
    part.write_batch(outs(2, 2))
    assert part.snapshot()["sequence"] == 2


def test_too_many_waiting_block_until_there_is_room(
    nats_server: Server, open_part: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.jetstream.sink.CAPACITY", 100)
    nats_server.create("S", "s.>")
    part = open_part()
    for begin in range(0, 1000, 50):
        part.write_batch(outs(begin + 1, begin + 50))
        assert part._waiting() <= 100
    part.snapshot()
    assert stored(nats_server) == list(range(1, 1001))


def test_an_output_stream_made_anew_is_filled_from_here(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    part.write_batch(outs(1, 10))
    state = part.snapshot()
    nats_server.api("STREAM.DELETE.S")
    nats_server.create("S", "s.>")
    with structlog.testing.capture_logs() as logs:
        again = open_part(state)
        again.write_batch(outs(11, 12))
        assert again.snapshot() == {"v": 1, "sequence": 2}
    assert [entry["last"] for entry in logs if entry["log_level"] == "error"] == [0]
    assert stored(nats_server) == [11, 12]


def test_latency_is_measured_on_acknowledgement(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    part.write_batch([out(1, observed_at=NOW - timedelta(seconds=2)), out(2)])
    part.snapshot()
    assert value(metrics, "fast_path_seconds_count", event="created") == 1
    assert value(metrics, "fast_path_seconds_sum", event="created") == 2.0


def test_recovery_state_of_another_version_is_refused(open_part: Open) -> None:
    with pytest.raises(NatsError, match="expected version 1"):
        open_part({"v": 9})


class CrashError(Exception):
    pass


def run_flow(server: Server, store: Path, last: int, crash_at: int | None) -> None:
    """IN to OUT, one to one, with recovery; crash at one message, or end after the last."""
    stop = threading.Event()

    def step(message: RawMessage) -> tuple[str, Outgoing]:
        if message.sequence == crash_at:
            raise CrashError
        if message.sequence == last:
            stop.set()
        return "OUT", Outgoing("OUT", "out.a", f"id-{message.sequence}", message.data)

    metrics = FlowMetrics("test")
    flow = Dataflow("copy")
    source = JetStreamSource(server.config, ["IN"], batch=20, metrics=metrics, stop=stop)
    sink = JetStreamSink(server.config, ["OUT"], metrics=metrics, wait_s=30, stop=stop)
    op.output("out", op.map("step", op.input("in", flow, source), step), sink)
    recovery = RecoveryConfig(store, timedelta(0))
    try:
        cli_main(flow, epoch_interval=timedelta(milliseconds=50), recovery_config=recovery)
    finally:
        stop.set()


def test_a_crashing_flow_publishes_each_once_and_in_order(nats_server: Server, tmp_path: Path) -> None:
    nats_server.create("IN", "in.>")
    nats_server.create("OUT", "out.>", duplicate_window=WINDOW_NS)
    nats_server.publish([("in.a", json.dumps(number).encode()) for number in range(1, 2001)])
    store = tmp_path / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    for crash_at in (333, 334, 1200, 2000):
        with pytest.raises(BytewaxRuntimeError):
            run_flow(nats_server, store, 2000, crash_at)
    run_flow(nats_server, store, 2000, None)
    assert [int(data) for _, _, _, data in nats_server.read("OUT")] == list(range(1, 2001))
