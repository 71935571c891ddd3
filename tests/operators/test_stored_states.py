"""State that an earlier version wrote, step by step: what waits for context, silences, where streams were read to.

tests/operators/stored holds it; WATCHKEEPER_GOLDEN=write writes it anew (of the version that is checked out).
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import Any

import pytest

from operators.async_map.calls import CallThreads
from operators.async_map.limits import AsyncLimits
from operators.async_map.operator import AsyncLogic
from operators.detect.silence_board import SNAPSHOT_VERSION, Quiet, SilenceBoard, SilenceNote
from operators.enrich.saved import load_event, save_event
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig, NatsError
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from tests.support.make import anomaly, at, tick


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


STORED = Path(__file__).parent / "stored"


def stored(name: str, now: Any) -> Any:
    """Plain data as Python writes it, so that a change of it shows in the diff."""
    path = STORED / name
    if os.environ.get("WATCHKEEPER_GOLDEN") == "write":
        path.write_text(pformat(now, width=110) + "\n")
    return eval(path.read_text(), {"__builtins__": {}})


def window(resume: dict[str, Any] | None) -> AsyncLogic[Event, Event]:
    def call(events: list[Event]) -> list[Event]:
        return events

    def on_failure(event: Event, error: Exception) -> Event:
        return event

    threads = CallThreads(1, "test")
    limits = AsyncLimits(timeout_s=5)
    return AsyncLogic(call, on_failure, limits, threads, save=save_event, load=load_event, resume=resume)


def events() -> list[Event]:
    first, second = anomaly(1), anomaly(2, metric_value=97.0)
    return [Event((1, 0), at(1), first), tick(2), Event((3, 1), at(3), second)]


def test_events_that_waited_for_context_go_on() -> None:
    saved = stored("enrich_context_v1.py.txt", {"v": 1, "pending": [save_event(event) for event in events()]})
    logic = window(saved)
    assert logic.snapshot() == saved
    assert list(logic.on_eof()[0]) == events()


def note(seconds: float, kind: Any) -> SilenceNote:
    quiet = Quiet("gen-1", "system", "node", "fan_rpm", "0198c0de-0000-8000-8000-000000000001", 10.0, 0.6, "silent")
    return SilenceNote((int(seconds), 0), at(seconds), kind, "aurora", "aurora/gen-1/node/fan_rpm", quiet)


def board() -> SilenceBoard:
    return SilenceBoard(load_policy(None), round_s=8)


def states(of: SilenceBoard, *items: Event | SilenceNote) -> list[str]:
    bodies = [event.body for item in items for event in of.process(item)]
    return [f"{body.state} {body.series}" for body in bodies if isinstance(body, AnomalyDetected)]


def test_a_silence_that_was_told_is_ended_by_the_next_sample() -> None:
    first = board()
    assert states(first, note(1, "watched"), note(70, "silent"), tick(200)) == ["firing aurora/gen-1/node/fan_rpm"]
    again = board()
    again.restore(stored(f"silence_board_v{SNAPSHOT_VERSION}.py.txt", first.snapshot()))
    assert again.snapshot() == first.snapshot()
    assert states(again, note(300, "heard")) == ["cleared aurora/gen-1/node/fan_rpm"]


NOWHERE = NatsConfig("nats://127.0.0.1:1")
CREATED = "2026-01-01T00:00:00.000000+00:00"
SOURCE_V1 = {"v": 1, "stream": "S", "created": CREATED, "sequence": 7, "second": "2026-01-01T00:00:09+00:00"}
SOURCE_V2 = SOURCE_V1 | {"v": 2, "arrived": 1767225609123456789, "back_since": None}


@pytest.mark.parametrize("state", [SOURCE_V1, SOURCE_V2])
def test_where_a_stream_was_read_to(state: dict[str, Any], stop: threading.Event) -> None:
    source = JetStreamSource(NOWHERE, ["S"], metrics=FlowMetrics("vessel"), stop=stop, ticks=True)
    part = source.build_part("telemetry", "S", state)
    assert part.snapshot() == SOURCE_V2 | {"arrived": state.get("arrived")}
    part.close()


def test_where_a_stream_was_published_to(stop: threading.Event) -> None:
    sink = JetStreamSink(NOWHERE, ["S"], metrics=FlowMetrics("vessel"), wait_s=5, stop=stop)
    part = sink.build_part("jetstream", "S", {"v": 1, "sequence": 12})
    assert part.snapshot() == {"v": 1, "sequence": 12}
    part.close()


def test_positions_of_a_later_version_are_refused_with_the_way_out(stop: threading.Event) -> None:
    source = JetStreamSource(NOWHERE, ["S"], metrics=FlowMetrics("vessel"), stop=stop)
    sink = JetStreamSink(NOWHERE, ["S"], metrics=FlowMetrics("vessel"), wait_s=5, stop=stop)
    with pytest.raises(NatsError, match=r"stream S .*another version.*watchkeeper recover vessel"):
        source.build_part("telemetry", "S", SOURCE_V2 | {"v": 3})
    with pytest.raises(NatsError, match=r"output stream S .*another version.*watchkeeper recover vessel"):
        sink.build_part("jetstream", "S", {"v": 2, "sequence": 12})
