"""The whole vessel flow: order, crash, batch size, and the frozen names of its steps."""

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import init_db_dir
from bytewax.testing import TestingSource
from bytewax.visualize import to_rendered

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.capture import CaptureSource
from operators.log_clock import LogClock
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Outgoing, RawMessage
from tests.support.flow import SETTINGS, first_of_each, run_vessel
from tests.support.make import raw

STATEFUL = [
    "vessel.telemetry",
    "vessel.detect.slots",
    "vessel.detect.silence",
    "vessel.correlate.slots",
    "vessel.jetstream",
]


HOT = {"service": "node", "metric_name": "cpu_pct", "metric_value": 95.0}


def story(seed: int = 1) -> list[RawMessage]:
    """An hour of a small ship: a CPU that runs hot, an attack, a link that fails, and some rubbish."""
    draw = random.Random(seed)
    out: list[RawMessage] = []

    def say(second: float, subject: str, body: Any) -> None:
        out.append(raw(len(out) + 1, subject, body, second))

    for minute in range(60):
        second = minute * 60.0
        cpu = 95.0 if 10 <= minute < 20 else 40.0 + draw.random()
        sample = {"service": "node", "metric_name": "cpu_pct", "metric_value": cpu}
        say(second, "metrics.ingested.system.srv-1", [sample, {**sample, "device_id": "srv-2", "metric_value": 30.0}])
        if minute % 7 == 0:
            say(second + 1, "metrics.ingested.system.srv-1", '{"broken')
        if 30 <= minute < 33:
            for n in range(8):
                msg = f"Failed password for root from 203.0.113.{n} port 4711 ssh2"
                line = {"device_id": "gw-1", "level": "error", "msg": msg}
                say(second + 2 + n / 10, "logs.ingested.security.sshd", line)
        if minute in (25, 26):
            line = {"device_id": "rt-1", "level": "error", "msg": "Interface Gi0/1, changed state to down"}
            say(second + 3, "logs.ingested.net.ifmgr", line)
    return out


def with_ticks(messages: list[RawMessage]) -> list[RawMessage]:
    clock = LogClock()
    out = []
    for message in messages:
        if clock.reaches(message.observed_at):
            out.append(message._replace(data=b"", tick=True))
        out.append(message)
    return out


def incidents(messages: list[Outgoing]) -> list[bytes]:
    return [message.data for message in messages if message.stream == "INCIDENTS"]


def test_the_story_gives_three_incidents_and_its_dead_letters() -> None:
    out = run_vessel(TestingSource(with_ticks(story()), 50))
    last = {}
    for message in out:
        if message.stream == "INCIDENTS":
            incident = json.loads(message.data)
            last[incident["incident_id"]] = incident
    found = {(each["incident_type"], each["scope"][0]["device_id"], each["status"]) for each in last.values()}
    assert found == {
        ("resource_pressure", "srv-1", "resolved"),
        ("auth_attack", "gw-1", "resolved"),
        ("network_issue", "rt-1", "resolved"),
    }
    assert sum(message.stream == "DEAD_LETTERS" for message in out) == 9
    assert len({message.msg_id for message in out}) == len(out)


def test_the_revisions_of_an_incident_leave_in_order() -> None:
    revisions: dict[str, list[int]] = {}
    for message in run_vessel(TestingSource(with_ticks(story()), 7)):
        if message.stream == "INCIDENTS":
            incident = json.loads(message.data)
            revisions.setdefault(incident["incident_id"], []).append(incident["revision"])
    assert revisions
    for numbers in revisions.values():
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("batch", [1, 7, 500])
@pytest.mark.parametrize("epoch", [timedelta(0), timedelta(seconds=10)])
def test_batch_size_and_epoch_change_nothing(batch: int, epoch: timedelta) -> None:
    """Incidents leave in the same order; other streams may interleave otherwise, but hold the same."""
    messages = with_ticks(story())
    expected = run_vessel(TestingSource(messages, 100))
    out = run_vessel(TestingSource(messages, batch), epoch_interval=epoch)
    assert [each for each in out if each.subject.startswith("anomaly.detected")] == [
        each for each in expected if each.subject.startswith("anomaly.detected")
    ]
    assert incidents(out) == incidents(expected)
    assert first_of_each(out) == first_of_each(expected)
    assert len(out) == len(expected)


def test_findings_of_many_slots_leave_in_the_order_of_the_log() -> None:
    messages = [
        raw(
            minute * 100 + n,
            f"metrics.ingested.system.srv-{n}",
            {**HOT, "device_id": f"srv-{n}"},
            minute * 60.0 + n / 50,
        )
        for minute in range(1, 5)
        for n in range(40)
    ]
    for batch in (1, 500):
        out = run_vessel(TestingSource(with_ticks(messages), batch))
        places = [json.loads(each.data)["pos"] for each in out if each.subject == "anomaly.detected.system"]
        assert len(places) == 40
        assert places == sorted(places), batch


@pytest.mark.slow
def test_a_crash_before_any_message_changes_nothing(tmp_path: Path) -> None:
    messages = with_ticks(story())
    expected = first_of_each(run_vessel(TestingSource(messages, 10)))
    assert len(expected) > 50
    for at in range(1, len(messages)):
        store = tmp_path / str(at)
        store.mkdir()
        init_db_dir(store, 1)
        source = TestingSource([*messages[:at], TestingSource.ABORT(), *messages[at:]], 3)
        out: list[Any] = []
        for _ in range(2):
            run_vessel(source, recovery=store, take=out.append, epoch_interval=timedelta(0))
        assert first_of_each(out) == expected, f"crash before message {at}"


def test_a_stop_between_any_two_messages_doubles_nothing(tmp_path: Path) -> None:
    messages = with_ticks(story())
    expected = run_vessel(TestingSource(messages, 10))
    init_db_dir(tmp_path, 1)
    stops = [0, 3, 40, 41, 77, 120]
    items: list[Any] = []
    for i, message in enumerate(messages):
        items += [TestingSource.EOF(), message] if i in stops else [message]
    source = TestingSource(items, 4)
    out: list[Any] = []
    for _ in range(len(stops) + 1):
        run_vessel(source, recovery=tmp_path, take=out.append, epoch_interval=timedelta(0))
    assert incidents(out) == incidents(expected)
    assert first_of_each(out) == first_of_each(expected)
    assert len(out) == len(expected)


class _Nothing(StatefulSourcePartition[RawMessage, None]):
    def next_batch(self) -> list[RawMessage]:
        raise StopIteration

    def snapshot(self) -> None:
        return None


class Nothing(FixedPartitionedSource[RawMessage, None]):
    """A source without messages."""

    def list_parts(self) -> list[str]:
        return ["none"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Nothing:
        return _Nothing()


def test_step_ids_are_frozen() -> None:
    """Recovery finds state by step id: a renamed step with state loses the state of every ship."""
    flow = vessel(Nothing(), CollectSink(lambda _: None), load_policy(None), SETTINGS, FlowMetrics("test"))
    steps = [
        step.step_id
        for step in _walk(to_rendered(flow).substeps)
        if step.op_type in ("input", "stateful_batch", "output")
    ]
    assert steps == STATEFUL


def _walk(operators: Any) -> Any:
    for operator in operators:
        yield operator
        yield from _walk(operator.substeps)


def lines(messages: list[RawMessage]) -> str:
    return "\n".join(
        json.dumps(
            {
                "seq": message.sequence,
                "subject": message.subject,
                "ts": message.observed_at.isoformat(),
                "headers": {},
                "data": message.data.decode(),
            }
        )
        for message in messages
    )


def test_a_capture_gives_what_the_messages_gave_but_for_the_tracking_ids(tmp_path: Path) -> None:
    file = tmp_path / "story.ndjson"
    file.write_text(lines(story()))
    captured = run_vessel(CaptureSource([file], batch=13))
    direct = run_vessel(TestingSource(with_ticks(story()), 100))
    assert sorted(each.subject for each in captured) == sorted(each.subject for each in direct)


@pytest.mark.parametrize("stop_after", [1, 9, 20])
def test_a_capture_resumes_where_it_stopped(tmp_path: Path, stop_after: int) -> None:
    file = tmp_path / "story.ndjson"
    file.write_text(lines(story()))
    source = CaptureSource([file], batch=4)
    whole = source.build_part("s", "capture", None)
    rest = []
    batches = []
    while True:
        try:
            batches.append(whole.next_batch())
        except StopIteration:
            break
    first = source.build_part("s", "capture", None)
    for _ in range(stop_after):
        first.next_batch()
    second = source.build_part("s", "capture", first.snapshot())
    while True:
        try:
            rest.append(second.next_batch())
        except StopIteration:
            break
    assert rest == batches[stop_after:]
