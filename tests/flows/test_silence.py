"""Silence through the whole vessel flow: what is told of series, devices and ships, and what never is."""

import json
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir
from bytewax.testing import TestingSource

from schemas.event import Outgoing, RawMessage
from tests.support.flow import SETTINGS, run_vessel
from tests.support.make import raw
from tests.support.story import with_ticks

DEVICES = ("modem", "router", "server", "sonar")
METRICS = ("load", "temp", "errors")
WARM = 2000
"""Seconds after which a rhythm of five seconds is known well enough to be missed within three minutes."""

Span = tuple[int, int]


def log(
    end: int, *, off: dict[str, list[Span]] | None = None, paused: Span = (0, 0), no_heartbeat: Span = (0, 0)
) -> list[RawMessage]:
    """Each device says its metrics every five seconds, the vessel a heartbeat each second; off: silent devices."""
    out: list[RawMessage] = []
    for second in range(end):
        if paused[0] <= second < paused[1]:
            continue
        if not no_heartbeat[0] <= second < no_heartbeat[1]:
            out.append(raw(len(out) + 1, "ops.tick", {"ship_id": "aurora"}, float(second)))
        if second % 5 == 0:
            for number, device in enumerate(DEVICES):
                if any(start <= second < stop for start, stop in (off or {}).get(device, [])):
                    continue
                samples = [
                    {"service": "node", "metric_name": metric, "metric_value": 40.0 + (second // 5 + n) % 3}
                    for n, metric in enumerate(METRICS)
                ]
                subject = f"metrics.ingested.system.{device}"
                out.append(raw(len(out) + 1, subject, samples, second + 0.1 + number / 100))
    return with_ticks(out)


def stale(out: list[Outgoing]) -> list[dict[str, Any]]:
    found = [json.loads(each.data) for each in out if each.subject.startswith("anomaly.detected")]
    return [each for each in found if each["anomaly_type"] == "stale"]


def told(out: list[Outgoing]) -> list[tuple[str, str]]:
    return [(each["series"], each["state"]) for each in stale(out)]


def second_of(text: str) -> float:
    clock = text[11:].removesuffix("Z")
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def run(messages: list[RawMessage], batch: int = 200, **options: Any) -> list[Outgoing]:
    return run_vessel(TestingSource(messages, batch), **options)


@cache
def device_off() -> tuple[RawMessage, ...]:
    return tuple(log(2900, off={"modem": [(WARM, 2600)]}))


def test_a_device_that_falls_silent_is_one_finding_and_one_incident() -> None:
    out = run(list(device_off()))
    assert told(out) == [("aurora/modem", "firing"), ("aurora/modem", "cleared")]
    fired, cleared = stale(out)
    assert second_of(fired["since"]) == pytest.approx(WARM - 5 + 0.1)
    (usual,) = re.findall(r"([0-9.]+) s would still be usual", fired["msg"])
    deadline = WARM - 5 + float(usual)
    assert 0 <= second_of(fired["observed_at"]) - deadline <= 2 * SETTINGS.detect_slots + 30 + 1
    assert second_of(cleared["observed_at"]) == pytest.approx(2600.1)
    assert 0.5 <= fired["score"] <= 1
    assert "3 of 3 series" in fired["msg"]
    assert "usually a sample every 5 s" in fired["msg"]
    incidents = [json.loads(each.data) for each in out if each.stream == "INCIDENTS"]
    assert {each["incident_type"] for each in incidents} == {"stale_telemetry"}
    assert incidents[0]["scope"][0]["device_id"] == "modem"
    assert incidents[-1]["status"] == "resolved"


def test_a_ship_that_falls_silent_while_its_log_goes_on_is_one_finding() -> None:
    out = run(log(2900, off={device: [(WARM, 2600)] for device in DEVICES}))
    assert told(out) == [("aurora", "firing"), ("aurora", "cleared")]
    assert second_of(stale(out)[1]["observed_at"]) < 2602


def test_a_log_that_stands_still_for_an_hour_accuses_nobody() -> None:
    """NATS down, or ship and vessel without power: the tick that ends it comes before the first sample."""
    messages = log(6500, paused=(WARM, WARM + 3600))
    restart = next(n for n, each in enumerate(messages) if n and second_of(_iso(each)) >= WARM + 3600)
    assert messages[restart].tick
    assert told(run(messages)) == []


def test_a_ship_without_power_whose_devices_stay_off_is_told_once_after_the_log_is_back() -> None:
    off = {device: [(WARM, WARM + 4200)] for device in DEVICES}
    out = run(log(6700, off=off, paused=(WARM, WARM + 3600)))
    assert told(out) == [("aurora", "firing"), ("aurora", "cleared")]
    fired, cleared = stale(out)
    assert second_of(fired["since"]) < WARM
    assert WARM + 3660 < second_of(fired["observed_at"]) < WARM + 3900
    assert WARM + 4200 <= second_of(cleared["observed_at"]) < WARM + 4202


def test_a_backlog_read_after_the_vessel_was_down_is_no_silence() -> None:
    """Its samples have their own arrival times; only the vessel's heartbeats are missing from it."""
    assert told(run(log(6500, no_heartbeat=(WARM, WARM + 3600)))) == []


def test_what_really_fell_silent_while_the_vessel_was_down_is_told_from_the_backlog() -> None:
    off = {"sonar": [(WARM + 600, 7000)]}
    out = run(log(6500, off=off, no_heartbeat=(WARM, WARM + 3600)))
    assert told(out) == [("aurora/sonar", "firing")]


def test_a_device_that_comes_and_goes_is_told_each_time_and_never_twice() -> None:
    """The second time it must stay away for longer: the first has shown what it can do."""
    out = run(log(6100, off={"modem": [(WARM, 2600), (3000, 6000)]}))
    assert told(out) == [("aurora/modem", "firing"), ("aurora/modem", "cleared")] * 2


def test_batches_and_epochs_change_nothing() -> None:
    messages = list(device_off())
    expected = _kept(run(messages))
    assert _kept(run(messages, 7)) == expected
    assert _kept(run(messages, 1, epoch_interval=timedelta(0))) == expected


@pytest.mark.parametrize("crash", [False, True])
def test_a_restart_at_any_point_of_a_silence_tells_the_same(tmp_path: Path, crash: bool) -> None:
    messages = list(device_off())
    expected = run(messages)
    seconds = (WARM - 3, WARM + 30, WARM + 150, WARM + 190, WARM + 200, WARM + 230, WARM + 400, 2599, 2605)
    init_db_dir(tmp_path, 1)
    items: list[Any] = []
    due = list(seconds)
    for message in messages:
        if due and second_of(_iso(message)) >= due[0]:
            due.pop(0)
            items.append(TestingSource.ABORT() if crash else TestingSource.EOF())
        items.append(message)
    assert not due
    source = TestingSource(items, 61)
    out: list[Outgoing] = []
    for _ in range(len(seconds) + 1):
        run_vessel(source, recovery=tmp_path, take=out.append, epoch_interval=timedelta(0))
    ids = {each.msg_id: each.data for each in out}
    assert ids == {each.msg_id: each.data for each in expected}
    if not crash:
        assert told(out) == told(expected)


def _iso(message: RawMessage) -> str:
    return message.observed_at.isoformat().replace("+00:00", "Z")


def _kept(out: list[Outgoing]) -> list[bytes]:
    return [each.data for each in out if each.subject.startswith("anomaly.detected") or each.stream == "INCIDENTS"]
