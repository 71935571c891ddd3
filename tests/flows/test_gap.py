"""A gap in the stream becomes one incident that ends by itself, whatever the batches and crashes."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir
from bytewax.testing import TestingSource

from operators.log_clock import LogClock
from schemas.event import Outgoing, RawMessage
from tests.support.flow import first_of_each, run_vessel
from tests.support.make import at, raw

GAP = RawMessage("TELEMETRY", 0xABC, 4, at(10), "", b"", gap_last=90)


def log() -> list[RawMessage]:
    """Lines, a gap before the fourth, and lines each second for two minutes."""
    clock, out = LogClock(), list[RawMessage]()
    for sequence in (1, 2, 3, *range(91, 220)):
        seconds = float(sequence if sequence < 90 else sequence - 81)
        message = raw(sequence, "logs.ingested.app.x", {"device_id": "srv-1", "msg": f"line {sequence}"}, seconds)
        if sequence == 91:
            out.append(GAP._replace(observed_at=message.observed_at))
        if clock.reaches(message.observed_at):
            out.append(message._replace(data=b"", tick=True))
        out.append(message)
    return out


def incidents(messages: list[Outgoing]) -> list[dict[str, Any]]:
    return [json.loads(each.data) for each in messages if each.stream == "INCIDENTS"]


def test_it_opens_with_the_range_and_resolves_after_its_hold() -> None:
    opened, resolved = incidents(run_vessel(TestingSource(log(), batch_size=500)))
    assert (opened["event"], resolved["event"]) == ("created", "resolved")
    assert opened["incident_type"] == "telemetry_gap"
    assert opened["title"] == "Telemetry gap on TELEMETRY"
    assert "messages 4 to 90 of stream TELEMETRY (87)" in opened["evidence"][0]["summary"]
    assert "messages 4 to 90 of stream TELEMETRY (87)" in opened["timeline"][0]["reason"]
    assert opened["severity"] == "high"
    assert resolved["resolved_at"] == (at(70)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("batch", [1, 7, 33])
def test_batches_change_nothing(batch: int) -> None:
    whole = run_vessel(TestingSource(log(), batch_size=500))
    assert first_of_each(run_vessel(TestingSource(log(), batch_size=batch))) == first_of_each(whole)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_crash_right_after_it_does_not_double_it(tmp_path: Path, after: int) -> None:
    whole = run_vessel(TestingSource(log(), batch_size=1))
    store = tmp_path / "store"
    store.mkdir()
    init_db_dir(store, 1)
    messages: list[Any] = log()
    place = messages.index(next(each for each in messages if each.gap_last is not None)) + after
    crashing = [*messages[:place], TestingSource.ABORT(), *messages[place:]]
    source = TestingSource(crashing, batch_size=1)
    options: dict[str, Any] = {"recovery": store, "epoch_interval": timedelta(hours=1)}
    parts = [run_vessel(source, **options) for _ in range(2)]
    published = [each for part in parts for each in part]
    assert first_of_each(published) == first_of_each(whole)
