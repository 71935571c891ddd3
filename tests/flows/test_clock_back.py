"""The server's clock is set back an hour: deadlines run on, findings clear, and the log alone decides."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir

from operators.capture import CaptureSource
from schemas.event import Outgoing
from tests.support.flow import first_of_each, run_vessel
from tests.support.make import START

BACK_AT = 1500
STEP = timedelta(hours=1)
EVERY_S, END = 10, 3000
"""Seconds: the clock goes back at 1500; the story goes on to 3000 of a right clock's."""


def right_clock() -> list[tuple[int, str, Any]]:
    """What happens when, by a clock that is never touched."""
    out: list[tuple[int, str, Any]] = [(second, "ops.tick", {}) for second in range(END)]
    for second in range(0, END, EVERY_S):
        cpu = 97.0 if 900 <= second < 1480 or 2000 <= second < 2400 else 30.0
        sample = {"service": "node", "metric_name": "cpu_pct", "metric_value": cpu}
        out.append((second, "metrics.ingested.system.srv-1", sample))
        if not BACK_AT - 200 <= second < BACK_AT + 900:
            fan = {"service": "node", "metric_name": "fan_rpm", "metric_value": 900.0}
            out.append((second, "metrics.ingested.system.gen-1", fan))
        out.append((second, "logs.ingested.app.web", {"device_id": "srv-1", "msg": f"request {second} took 3 ms"}))
    for start in (BACK_AT - 5, BACK_AT + 700):
        for n in range(6):
            line = {
                "device_id": "gw-1",
                "level": "error",
                "msg": f"Failed password for root from 203.0.113.{n} port 4711",
            }
            out.append((start, "logs.ingested.security.sshd", line))
    return sorted(out, key=lambda each: each[0])


def capture(path: Path, back: bool) -> Path:
    with path.open("w") as file:
        for sequence, (second, subject, body) in enumerate(right_clock(), 1):
            at = START + timedelta(seconds=second)
            ts = (at - STEP if back and second >= BACK_AT else at).isoformat()
            record = {"seq": sequence, "subject": subject, "ts": ts, "data": json.dumps(body)}
            file.write(json.dumps(record) + "\n")
    return path


def lives(messages: list[Outgoing]) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Incident type and device → what was said of it, and at which second (by the clock of then)."""
    out: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for message in messages:
        if message.stream == "INCIDENTS":
            body = json.loads(message.data)
            at = (datetime.fromisoformat(body["updated_at"]) - START).total_seconds()
            key = body["incident_type"], body["scope"][0]["device_id"]
            if body["event"] in ("created", "resolved", "reopened"):
                out.setdefault(key, []).append((body["event"], at))
    return out


def test_incidents_end_as_they_would_have_and_not_an_hour_later(tmp_path: Path) -> None:
    right = lives(run_vessel(CaptureSource([capture(tmp_path / "right.ndjson", back=False)])))
    back = lives(run_vessel(CaptureSource([capture(tmp_path / "back.ndjson", back=True)])))
    assert {key: [event for event, _ in life] for key, life in back.items()} == {
        key: [event for event, _ in life] for key, life in right.items()
    }
    assert {("resource_pressure", "srv-1"), ("auth_attack", "gw-1"), ("stale_telemetry", "gen-1")} <= right.keys()
    for key, life in right.items():
        for (event, should), (_, was) in zip(life, back[key], strict=True):
            by_right_clock = was if was < BACK_AT and should < BACK_AT + 20 else was + STEP.total_seconds()
            late = by_right_clock - should
            # what was waited for already is waited for again: a silence of gen-1 takes 450 s to tell
            assert -1 <= late <= (250 if key[0] == "stale_telemetry" else 60), (key, event, should, was)


@pytest.mark.parametrize("batch", [1, 7, 33])
def test_batches_change_nothing(tmp_path: Path, batch: int) -> None:
    path = capture(tmp_path / "back.ndjson", back=True)
    whole = first_of_each(run_vessel(CaptureSource([path])))
    assert first_of_each(run_vessel(CaptureSource([path], batch=batch))) == whole


@pytest.mark.parametrize("second", [BACK_AT - 1, BACK_AT + 5, BACK_AT + 9, BACK_AT + 15, BACK_AT + 80])
def test_a_restart_in_the_midst_of_it_changes_nothing(tmp_path: Path, second: int) -> None:
    path = capture(tmp_path / "back.ndjson", back=True)
    whole = run_vessel(CaptureSource([path]))
    lines = path.read_text().splitlines(keepends=True)
    cut = sum(1 for at, _, _ in right_clock() if at <= second)
    store, before = tmp_path / "store", tmp_path / "before.ndjson"
    store.mkdir()
    init_db_dir(store, 1)
    before.write_text("".join(lines[:cut]))
    parts = [run_vessel(CaptureSource([each], batch=50), recovery=store) for each in (before, path)]
    assert first_of_each([message for part in parts for message in part]) == first_of_each(whole)
