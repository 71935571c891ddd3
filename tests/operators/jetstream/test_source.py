import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
import structlog
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSink

from operators.jetstream import JetStreamSource, NatsError, arrival_time
from operators.jetstream.source import JetStreamPart
from operators.log_clock import LogClock
from operators.observability import FlowMetrics
from schemas.event import RawMessage
from schemas.identity import stream_identity
from tests.support.nats import Server, until, warnings

pytestmark = pytest.mark.e2e

Open = Callable[..., JetStreamPart]


@pytest.fixture
def open_part(nats_server: Server, metrics: FlowMetrics, stop: threading.Event) -> Iterator[Open]:
    parts: list[JetStreamPart] = []

    def build(resume: dict[str, Any] | None = None, **options: Any) -> JetStreamPart:
        source = JetStreamSource(nats_server.config, ["S"], metrics=metrics, stop=stop, **options)
        part = source.build_part("in", "S", resume)
        parts.append(part)
        return part

    yield build
    for part in parts:
        part.close()


def collect(part: JetStreamPart, count: int, seconds: float = 30.0) -> list[RawMessage]:
    got: list[RawMessage] = []
    deadline = time.monotonic() + seconds
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count}"
        batch = part.next_batch()
        got += batch
        if not batch:
            time.sleep(0.001)
    return got


def numbers(messages: list[RawMessage]) -> list[int]:
    return [int(message.data) for message in messages if not message.tick]


def some(first: int, last: int) -> list[tuple[str, bytes]]:
    return [("s.a", str(number).encode()) for number in range(first, last + 1)]


def value(metrics: FlowMetrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"watchkeeper_{name}", {"stream": "S"}) or 0.0


def test_all_in_order_in_random_batches(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 20_000))
    part = open_part(window=1000)
    dice = random.Random(1)
    got: list[RawMessage] = []

    while len(got) < 20_000:
        part._batch = dice.choice([1, 3, 50, 499, 2000])
        got += collect(part, 1)
    assert numbers(got) == list(range(1, 20_001))
    assert [message.sequence for message in got] == list(range(1, 20_001))
    assert {message.subject for message in got} == {"s.a"}
    assert value(metrics, "messages_in_total") == 20_000
    assert value(metrics, "lag_messages") == 0
    assert value(metrics, "nats_connected") == 1
    assert abs((datetime.now(UTC) - got[-1].observed_at).total_seconds()) < 120
    assert got[-1].observed_at.tzinfo is UTC
    assert value(metrics, "log_time_seconds") == pytest.approx(got[-1].observed_at.timestamp(), abs=1e-5)


def test_lag_is_told_while_nothing_is_taken_in(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    """A flow that waits for ClickHouse takes nothing in: its lag must grow all the same."""
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 1000))
    part = open_part(window=64)
    until(lambda: value(metrics, "lag_messages") == 1000, what="the lag of what there was")
    nats_server.publish(some(1001, 1500))
    until(lambda: value(metrics, "lag_messages") == 1500, what="the lag of what came meanwhile")
    collect(part, 1500)
    assert value(metrics, "lag_messages") == 0


def test_identity_is_made_of_name_and_creation(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 1))
    part = open_part()
    [message] = collect(part, 1)
    created = datetime.fromisoformat(nats_server.info("S")["created"]).astimezone(UTC)
    assert message.identity == stream_identity("S", created.isoformat(timespec="microseconds"))
    assert part.snapshot() == {
        "v": 2,
        "stream": "S",
        "created": created.isoformat(timespec="microseconds"),
        "sequence": 1,
        "arrived": part._arrived,
        "second": None,
        "back_since": None,
    }
    assert arrival_time(part._arrived or 0) == message.observed_at


def test_start_says_the_first_sequence(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 10))
    assert numbers(collect(open_part(starts={"S": 8}), 3)) == [8, 9, 10]


def test_large_messages_stay_within_the_byte_credit(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    data = bytes(6_000_000)
    for number in range(20):
        nats_server.publish([("s.a", str(number).encode() + b"|" + data)])
    part = open_part()
    until(lambda: part._reader.held()[1] > 30_000_000, what="a full buffer")
    got: list[RawMessage] = []
    held = 0

    def read() -> bool:
        nonlocal held
        held = max(held, part._reader.held()[1])
        part._batch = 1
        got.extend(part.next_batch())
        return len(got) >= 20

    until(read, seconds=30, what="20 large messages")
    assert [int(message.data.split(b"|")[0]) for message in got] == list(range(20))
    assert held < 100_000_000


def ticks_by_hand(messages: list[RawMessage]) -> list[tuple[bool, int]]:
    clock, out = LogClock(), []
    for message in messages:
        if clock.reaches(message.observed_at):
            out.append((True, message.sequence))
        out.append((False, message.sequence))
    return out


def test_ticks_are_the_same_whatever_the_batch_and_the_restart(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    begin = time.monotonic()
    count = 0
    while time.monotonic() - begin < 2.6:
        nats_server.publish(some(count + 1, count + 20))
        count += 20
    expected = ticks_by_hand([m for m in collect(open_part(), count) if not m.tick])
    assert sum(tick for tick, _ in expected) >= 3

    for batch in (1, 7, 500):
        part = open_part(ticks=True, batch=batch)
        whole = collect(part, len(expected))
        assert [(m.tick, m.sequence) for m in whole] == expected
        assert all(m.data == b"" for m in whole if m.tick)

    for tick_at in [place for place, (tick, _) in enumerate(expected) if tick]:
        # the batch ends just before, and just after, the message that the tick goes with
        for handed in {expected[tick_at][1] - 1, expected[tick_at][1]} - {0}:
            first = open_part(ticks=True, batch=1)
            seen: list[RawMessage] = []
            while not seen or seen[-1].sequence < handed:
                seen += first.next_batch()
            rest = collect(open_part(first.snapshot(), ticks=True), len(expected) - len(seen))
            assert [(m.tick, m.sequence) for m in seen + rest] == expected


def test_a_recreated_stream_is_refused(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 5))
    part = open_part()
    collect(part, 5)
    state = part.snapshot()
    nats_server.api("STREAM.DELETE.S")
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 9))
    resumed = open_part(state)
    with pytest.raises(NatsError, match=r"stream S .*recreated.*watchkeeper recover test"):
        collect(resumed, 1)


def test_a_stream_deleted_while_reading_is_fatal(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 5))
    part = open_part()
    collect(part, 5)
    nats_server.api("STREAM.DELETE.S")
    with pytest.raises(NatsError, match="stream S does not exist"):
        collect(part, 1)


def test_a_stream_that_ends_before_the_resume_state_is_refused(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 5))
    part = open_part()
    collect(part, 5)
    with pytest.raises(NatsError, match=r"ends at 5 but 50 was read"):
        collect(open_part(part.snapshot() | {"sequence": 50}), 1)


def test_recovery_state_of_another_version_is_refused(open_part: Open) -> None:
    with pytest.raises(NatsError, match="expected version 2"):
        open_part({"v": 3, "stream": "S"})


def test_recovery_state_of_version_1_is_read(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 5))
    first = open_part()
    collect(first, 5)
    state = {name: first.snapshot()[name] for name in ("stream", "created", "second")}
    assert numbers(collect(open_part({"v": 1, "sequence": 3, **state}), 2)) == [4, 5]


def test_a_stream_restored_from_an_older_copy_is_refused_although_it_has_grown_since(
    nats_server: Server, open_part: Open
) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 5))
    nats_server.stop()
    shutil.copytree(nats_server.folder / "store", nats_server.folder / "copy")
    nats_server.start()
    nats_server.publish(some(6, 8))
    part = open_part()
    collect(part, 8)
    state = part.snapshot()
    part.close()
    nats_server.stop()
    shutil.rmtree(nats_server.folder / "store")
    (nats_server.folder / "copy").rename(nats_server.folder / "store")
    nats_server.start()
    nats_server.publish(some(60, 90))
    with pytest.raises(NatsError, match=r"another message at 8 .*older copy.*watchkeeper recover test"):
        collect(open_part(state), 1)


@pytest.mark.parametrize("then", [[], some(9, 9)])
def test_a_gap_is_counted_logged_and_passed(
    nats_server: Server, open_part: Open, metrics: FlowMetrics, then: list[tuple[str, bytes]]
) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 8))
    part = open_part(batch=2)
    collect(part, 2)
    state = part.snapshot()
    nats_server.api("STREAM.PURGE.S")
    nats_server.publish(then)
    with structlog.testing.capture_logs() as logs:
        resumed = open_part(state)
        if then:
            assert numbers(collect(resumed, 1)) == [9]
        else:
            until(lambda: resumed.next_batch() == [] and value(metrics, "gap_messages_total"), what="the gap")
    assert value(metrics, "gap_messages_total") == 6
    [gone] = [entry for entry in logs if "gone" in entry["event"]]
    assert (gone["log_level"], gone["first"], gone["last"], gone["count"]) == ("error", 3, 8, 6)
    assert resumed.snapshot()["sequence"] == (9 if then else 8)


def test_messages_that_give_way_while_reading_are_a_gap_too(
    nats_server: Server, open_part: Open, metrics: FlowMetrics
) -> None:
    nats_server.create("S", "s.>", max_msgs=100)
    nats_server.publish(some(1, 50))
    part = open_part(window=4)
    got = numbers(collect(part, 1))
    nats_server.publish(some(51, 1000))

    def read() -> bool:
        got.extend(numbers(part.next_batch()))
        return got[-1] == 1000

    until(read, what="the last message")
    assert got == sorted(set(got))
    assert len(got) + value(metrics, "gap_messages_total") == 1000
    assert value(metrics, "gap_messages_total") > 800


def test_kill_and_restart_under_load_loses_and_doubles_nothing(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 2000))
    part = open_part(window=256, batch=20)
    got = collect(part, 300)
    for last in (4000, 6000):
        nats_server.kill()
        until(lambda: not part.connected, what="the loss of the connection")
        got += part.next_batch()
        nats_server.start()
        nats_server.publish(some(last - 1999, last))
        got += collect(part, last - 700 - len(got))
    got += collect(part, 6000 - len(got))
    assert numbers(got) == list(range(1, 6001))
    assert part.next_batch() == []


def test_a_vanished_consumer_is_made_anew(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 10))
    part = open_part()
    got = collect(part, 10)
    for consumer in nats_server.api("CONSUMER.NAMES.S")["consumers"]:
        nats_server.api(f"CONSUMER.DELETE.S.{consumer}")
    nats_server.publish(some(11, 20))
    assert numbers(got + collect(part, 10)) == list(range(1, 21))


def test_nats_down_at_start_then_up(nats_server: Server, open_part: Open, metrics: FlowMetrics) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 3))
    nats_server.stop()
    with structlog.testing.capture_logs() as logs:
        part = open_part()
        until(lambda: len(warnings(logs)) >= 2, what="two attempts")
        assert part.next_batch() == []
        assert value(metrics, "nats_connected") == 0
        fresh = {"created": None, "sequence": None, "arrived": None, "second": None, "back_since": None}
        assert part.snapshot() == {"v": 2, "stream": "S", **fresh}
        assert numbers(collect(open_part(part.snapshot()), 3) if nats_server.start() else []) == [1, 2, 3]
        assert numbers(collect(part, 3)) == [1, 2, 3]
    assert all(
        nats_server.url in entry["event"] and "start nats-server" in entry["event"] for entry in warnings(logs)[:2]
    )
    assert not any("exc_info" in entry or "\n" in entry["event"] for entry in logs)


def test_refused_login_is_fatal(nats_server: Server, open_part: Open) -> None:
    nats_server.stop()
    part = open_part()
    nats_server.login = ("watch", "secret")
    nats_server.start()
    with pytest.raises(NatsError, match=r"refused us.*WATCHKEEPER_NATS_USER"):
        collect(part, 1)


def test_heartbeat_ticks_each_second(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "ops.tick")
    begin = time.monotonic()
    got = collect(open_part(heartbeat_ship="ship-9"), 3)
    assert 1.5 < time.monotonic() - begin < 10
    assert {message.subject for message in got} == {"ops.tick"}
    assert b'"ship_id":"ship-9"' in got[0].data
    assert got[2].observed_at - got[0].observed_at > timedelta(seconds=1.5)


def test_stop_ends_cleanly(nats_server: Server, open_part: Open, stop: threading.Event) -> None:
    nats_server.create("S", "s.>")
    part = open_part()
    assert part.next_batch() == []
    stop.set()
    with pytest.raises(StopIteration):
        part.next_batch()
    part.close()
    assert part._work.done()


def run_flow(server: Server, store: Path, stop: threading.Event, want: int) -> list[int]:
    """One run of a small flow with recovery; stop after at least `want` messages; what came out."""
    out: list[int] = []

    def step(message: RawMessage) -> int:
        if message.sequence >= want:
            stop.set()
        return int(message.data)

    source = JetStreamSource(server.config, ["S"], batch=10, metrics=FlowMetrics("test"), stop=stop)
    flow = Dataflow("small")
    op.output("out", op.map("step", op.input("in", flow, source), step), TestingSink(out))
    recovery = RecoveryConfig(store, timedelta(0))
    cli_main(flow, epoch_interval=timedelta(milliseconds=20), recovery_config=recovery)
    return out


def test_a_flow_resumes_from_its_snapshot_exactly_once(nats_server: Server, tmp_path: Path) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 3000))
    store = tmp_path / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    first = run_flow(nats_server, store, threading.Event(), 1000)
    second = run_flow(nats_server, store, threading.Event(), 2000)
    third = run_flow(nats_server, store, threading.Event(), 3000)
    assert 1000 <= len(first) < len(first) + len(second) < 3000
    assert first + second + third == list(range(1, 3001))


def test_a_fatal_error_ends_the_flow_as_nats_error(nats_server: Server, tmp_path: Path) -> None:
    store = tmp_path / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    with pytest.raises(BytewaxRuntimeError) as caught:
        run_flow(nats_server, store, threading.Event(), 1)
    assert isinstance(caught.value.__cause__, NatsError)
    assert "stream S does not exist" in str(caught.value.__cause__)


def test_a_gap_is_handed_on_with_the_message_after_it(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 8))
    part = open_part(batch=2, gaps=True, ticks=True)
    assert numbers(collect(part, 3)) == [1, 2]
    state = part.snapshot()
    nats_server.api("STREAM.PURGE.S")

    waiting = open_part(state, gaps=True, ticks=True)
    until(lambda: waiting.next_batch() == [] and waiting._gap_first == 3, what="the gap, with nothing after it yet")
    assert (waiting.snapshot()["sequence"], waiting.snapshot()["arrived"]) == (2, None)

    time.sleep(1.0)  # the next message begins a second of its own
    nats_server.publish(some(9, 10))
    for resumed in (waiting, open_part(waiting.snapshot() | {"created": state["created"]}, gaps=True, ticks=True)):
        gap, tick, nine, ten = collect(resumed, 4)
        assert (gap.sequence, gap.gap_last, gap.data, gap.tick) == (3, 8, b"", False)
        assert (tick.tick, tick.sequence, nine.sequence, ten.sequence) == (True, 9, 9, 10)
        assert gap.observed_at == tick.observed_at == nine.observed_at
        assert resumed.snapshot()["sequence"] == 10


def test_gaps_that_follow_each_other_are_one_and_those_apart_are_two(nats_server: Server, open_part: Open) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish(some(1, 9))
    first = open_part(gaps=True, batch=1)
    collect(first, 1)
    state = first.snapshot()
    for gone in (2, 3, 4, 7, 8):
        nats_server.api("STREAM.MSG.DELETE.S", {"seq": gone, "no_erase": True})
    got = collect(open_part(state, gaps=True), 5)
    seen = [(each.sequence, each.gap_last) for each in got]
    assert seen == [(2, 4), (5, None), (6, None), (7, 8), (9, None)]


def test_some_subjects_only_in_order_and_what_lies_between_is_no_gap(
    nats_server: Server, open_part: Open, metrics: FlowMetrics
) -> None:
    nats_server.create("S", "s.>")
    nats_server.publish([(f"s.{'abc'[number % 3]}.x", str(number).encode()) for number in range(1, 901)])
    mine = [number for number in range(1, 901) if number % 3]
    part = open_part(subjects=["s.b.>", "s.c.*"], window=64)
    assert numbers(collect(part, 300)[:300]) == mine[:300]
    saved = part.snapshot()
    again = open_part(saved, subjects=["s.b.>", "s.c.*"], window=64)
    assert numbers(collect(again, 600 - mine.index(saved["sequence"]) - 1))[-1] == mine[-1]
    assert value(metrics, "gap_messages_total") == 0
    until(lambda: value(metrics, "lag_messages") == 0, what="no lag, although the stream goes on with others' messages")
