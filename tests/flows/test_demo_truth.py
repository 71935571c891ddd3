"""The simulated ship has known faults: each becomes its incident in time, and nothing else does."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bytewax.testing import TestingSource

from compose.demo.faults import CYCLE
from compose.demo.ship import DemoShip
from operators.log_clock import LogClock
from schemas.event import RawMessage
from tests.support.flow import run_vessel

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def messages(seed: int, cycles: int = 1) -> list[RawMessage]:
    """What the ship sends, arriving when it is sent."""
    ship, clock = DemoShip(seed), LogClock()
    out: list[RawMessage] = []
    sequence = 0
    for second in range(int(cycles * CYCLE.total_seconds())):
        at = START + timedelta(seconds=second)
        for subject, payload in ship.step(at):
            sequence += 1
            raw = RawMessage("TELEMETRY", 1, sequence, at, subject, json.dumps(payload).encode())
            if clock.reaches(at):
                out.append(raw._replace(data=b"", tick=True))
            out.append(raw)
    return out


def opened(seed: int, cycles: int = 1) -> list[dict[str, Any]]:
    out = run_vessel(TestingSource(messages(seed, cycles), 200))
    found = [json.loads(message.data) for message in out if message.stream == "INCIDENTS"]
    return [incident for incident in found if incident["event"] in ("created", "reopened")]


@pytest.mark.parametrize("seed", [7, 8])
def test_every_fault_becomes_its_incident_in_time_and_nothing_else_does(seed: int) -> None:
    incidents = opened(seed)
    unexplained = []
    faults = DemoShip(seed).faults(START)
    for incident in incidents:
        at = datetime.fromisoformat(incident["updated_at"])
        device = incident["scope"][0]["device_id"]
        if not any(f.device_id == device and f.start <= at <= f.end for f in faults):
            unexplained.append((incident["incident_type"], device, at, incident["evidence"][-1]["summary"]))
    missed = [
        fault
        for fault in faults
        if not any(
            incident["incident_type"] == fault.incident_type
            and incident["scope"][0]["device_id"] == fault.device_id
            and fault.start <= datetime.fromisoformat(incident["opened_at"]) <= fault.start + fault.opens_within
            for incident in incidents
        )
    ]
    assert missed == []
    assert unexplained == []
