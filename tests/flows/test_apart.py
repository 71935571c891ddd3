"""detect and correlate as flows of their own, joined by ANOMALIES: they say what the vessel flow says."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from compose.replay import CollectSink
from flows.correlate import correlate_alone
from flows.detect import detect_alone
from operators.handover import handed_over, read_handed_over
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Event, Outgoing, RawMessage
from schemas.ops import Device, OpsCommand, OpsTick
from tests.support.flow import SETTINGS, Nothing, first_of_each, run_vessel, stateful_steps
from tests.support.make import anomaly, at, event, line, raw, sample
from tests.support.story import as_stored, incidents, story, with_ticks

POLICY = load_policy(None)
Make = Callable[..., Dataflow]


def run(
    make: Make,
    source: Source[RawMessage],
    recovery: Path | None = None,
    metrics: FlowMetrics | None = None,
    **run_with: Any,
) -> list[Outgoing]:
    out: list[Outgoing] = []
    flow = make(source, CollectSink(out.append), POLICY, SETTINGS, metrics or FlowMetrics("test"))
    run_main(flow, recovery_config=RecoveryConfig(str(recovery)) if recovery else None, **run_with)
    return out


def with_people(messages: list[RawMessage]) -> list[RawMessage]:
    """The story, with a device made known and a silence asked for in the midst of it."""
    device = {"device_id": "srv-1", "device_type": "server", "criticality": "critical"}
    silence = {
        "command_id": "c-1",
        "action": "silence",
        "by": "ada",
        "reason": "works on the gateway",
        "args": {"matchers": {"device_id": "gw-1"}, "duration_s": 86_400},
    }
    said = [raw(0, "ops.device", device, 90.5), raw(0, "ops.command", silence, 120.5)]
    merged = sorted([*messages, *said], key=lambda each: each.observed_at)
    return [each._replace(sequence=number) for number, each in enumerate(merged, start=1)]


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_apart_they_tell_the_same_incidents_byte_for_byte(batch: int) -> None:
    messages = with_ticks(with_people(story()))
    together = run_vessel(TestingSource(messages, 50))
    detected = run(detect_alone, TestingSource(messages, batch))
    correlated = run(correlate_alone, TestingSource(as_stored("ANOMALIES", detected), batch))
    assert incidents(together)
    assert incidents(correlated) == incidents(together)
    both = first_of_each([*detected, *correlated])
    passed_on = [name for name in both if name.startswith("ANOMALIES/anomaly.")]
    assert {name: data for name, data in both.items() if name not in passed_on} == first_of_each(together)
    assert any(name.startswith("ANOMALIES/anomaly.command") for name in passed_on)


@pytest.mark.slow
def test_a_crash_of_correlate_before_any_message_changes_nothing(tmp_path: Path) -> None:
    handed = as_stored("ANOMALIES", run(detect_alone, TestingSource(with_ticks(story()), 50)))
    events = [each for each in handed if each.subject != "anomaly.tick"]
    places = {handed.index(each) for each in events} | set(random.Random(5).sample(range(1, len(handed)), 20))
    expected = first_of_each(run(correlate_alone, TestingSource(handed, 10)))
    assert expected
    for place in sorted(places - {0}):
        store = tmp_path / str(place)
        store.mkdir()
        init_db_dir(store, 1)
        source: Any = TestingSource([*handed[:place], TestingSource.ABORT(), *handed[place:]], 3)
        out = [message for _ in range(2) for message in run(correlate_alone, source, store)]
        assert first_of_each(out) == expected, f"crash before message {place}"


@pytest.mark.parametrize(
    "body",
    [
        anomaly(1, since=at(0.123456), fields={"ip": "10.0.0.9"}),
        OpsTick(ship_id="aurora"),
        OpsCommand(command_id="c", ship_id="aurora", action="ack", incident_id="i", by="ada"),
        Device(ship_id="aurora", device_id="d", depends_on=("x",)),
    ],
)
def test_what_is_handed_over_arrives_whole(body: Any) -> None:
    one = Event((7, -1), at(1.000001), body)
    if not isinstance(body, OpsTick | OpsCommand | Device):
        one = event(body, 7)._replace(pos=body.pos)
    (message,) = filter(None, [handed_over(one)])
    (stored,) = as_stored("ANOMALIES", [message])
    assert read_handed_over(stored) == one


def test_telemetry_is_not_handed_over() -> None:
    assert handed_over(event(line(1, "x"))) is None
    assert handed_over(event(sample(1, 1.0))) is None


@pytest.mark.parametrize(
    ("subject", "body", "says"),
    [
        ("anomaly.detected.app", "{}", "tracking_id: Field required"),
        ("anomaly.tick", "{}", "not an event that detect passes on: KeyError('pos')"),
        ("anomaly.tick", "[]", "not an event that detect passes on: TypeError("),
        ("anomaly.tick", "{", "Expecting property name"),
        ("anomaly.command", json.dumps({"pos": [1, 0], "at": "x", "kind": "command", "body": "{}"}), "Field required"),
        ("anomaly.elsewhere", "{}", "no reader for subject 'anomaly.elsewhere'"),
    ],
)
def test_what_correlate_cannot_read_is_a_dead_letter_and_the_rest_goes_on(subject: str, body: str, says: str) -> None:
    handed = as_stored("ANOMALIES", run(detect_alone, TestingSource(with_ticks(story()), 50)))
    expected = run(correlate_alone, TestingSource(handed, 50))
    bad = raw(0, subject, body)._replace(stream="ANOMALIES")
    mixed = [each._replace(sequence=n) for n, each in enumerate([*handed[:9], bad, *handed[9:]], start=1)]
    metrics = FlowMetrics("test")
    out = run(correlate_alone, TestingSource(mixed, 50), metrics=metrics)
    (letter,) = (json.loads(each.data) for each in out if each.stream == "DEAD_LETTERS")
    assert says in letter["reason"]
    assert (letter["stream"], letter["sequence"], letter["subject"]) == ("ANOMALIES", 10, subject)
    assert metrics.registry.get_sample_value("watchkeeper_dead_letters_total", {"reason": "handover"}) == 1
    assert incidents(out) == incidents(expected)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (detect_alone, ["detect.telemetry", "detect.detect.slots", "detect.detect.silence", "detect.jetstream"]),
        (correlate_alone, ["correlate.anomalies", "correlate.correlate.slots", "correlate.jetstream"]),
    ],
)
def test_step_ids_are_frozen(make: Make, steps: list[str]) -> None:
    flow = make(Nothing(), CollectSink(lambda _: None), POLICY, SETTINGS, FlowMetrics("test"))
    assert stateful_steps(flow) == steps
