"""The whole vessel flow: order, crash, batch size, and the frozen names of its steps."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir
from bytewax.testing import TestingSource

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.capture import CaptureSource
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import RawMessage
from tests.support.flow import SETTINGS, Nothing, first_of_each, run_vessel, stateful_steps
from tests.support.make import raw
from tests.support.story import HOT, incidents, story, with_ticks

STATEFUL = [
    "vessel.telemetry",
    "vessel.detect.slots",
    "vessel.detect.silence",
    "vessel.correlate.slots",
    "vessel.jetstream",
]


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


def test_step_ids_are_frozen() -> None:
    """Recovery finds state by step id: a renamed step with state loses the state of every ship."""
    flow = vessel(Nothing(), CollectSink(lambda _: None), load_policy(None), SETTINGS, FlowMetrics("test"))
    assert stateful_steps(flow) == STATEFUL


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
