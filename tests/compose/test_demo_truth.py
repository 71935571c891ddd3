"""The simulated ship through the real vessel flow and the shipped policy: every fault is found, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compose.demo.faults import CYCLE, Fault
from compose.demo.ship import DemoShip
from compose.replay import replay
from policy import load_policy
from schemas.settings import Settings

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
CYCLES = 2
ARRIVAL = timedelta(milliseconds=5)


def capture(ship: DemoShip, path: Path) -> Path:
    """Two cycles of the ship as a capture."""
    with path.open("w") as file:
        seq = 0
        for second in range(int((CYCLE * CYCLES).total_seconds())):
            t = START + timedelta(seconds=second)
            for subject, payload in (ship.inventory() if second == 0 else []) + ship.step(t):
                seq += 1
                arrived = (t + ARRIVAL).isoformat().replace("+00:00", "Z")
                line = {"seq": seq, "subject": subject, "ts": arrived, "headers": {}, "data": json.dumps(payload)}
                file.write(json.dumps(line) + "\n")
    return path


def opened(incidents: list[dict[str, Any]]) -> list[tuple[str, set[str], datetime]]:
    """(type, devices, when) of everything that opened or opened again."""
    return [
        (i["incident_type"], {s["device_id"] for s in i["scope"]}, datetime.fromisoformat(i["updated_at"]))
        for i in incidents
        if i["event"] in ("created", "reopened")
    ]


def explains(fault: Fault, incident: tuple[str, set[str], datetime]) -> bool:
    kind, devices, when = incident
    in_time = fault.start <= when <= fault.start + fault.opens_within
    return kind == fault.incident_type and fault.device_id in devices and in_time


@pytest.mark.parametrize("seed", [7, 11])
def test_every_fault_opens_its_incident_in_time_and_nothing_else_does(seed: int, tmp_path: Path) -> None:
    ship = DemoShip(seed)
    lines: list[str] = []
    summary = replay([capture(ship, tmp_path / "demo.ndjson")], load_policy(None), Settings(), lines.append)
    found = opened([json.loads(line) for line in lines])
    truth = ship.faults(START, CYCLES)
    missed = [fault for fault in truth if not any(explains(fault, incident) for incident in found)]
    false = [incident for incident in found if not any(explains(fault, incident) for fault in truth)]
    assert (missed, false) == ([], [])
    assert len(found) == len(truth) == 14
    assert "0 dead letters" in str(summary)
