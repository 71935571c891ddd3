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


def capture(ship: DemoShip, path: Path, cycles: int = CYCLES) -> Path:
    """Some cycles of the ship as a capture."""
    with path.open("w") as file:
        seq = 0
        for second in range(int((CYCLE * cycles).total_seconds())):
            t = START + timedelta(seconds=second)
            for subject, payload in (ship.inventory() if second == 0 else []) + ship.step(t):
                seq += 1
                arrived = (t + ARRIVAL).isoformat().replace("+00:00", "Z")
                line = {"seq": seq, "subject": subject, "ts": arrived, "headers": {}, "data": json.dumps(payload)}
                file.write(json.dumps(line) + "\n")
    return path


def opened(incidents: list[dict[str, Any]]) -> list[tuple[str, set[str], datetime]]:
    """(type, devices, when) of everything that people were told of: opened, opened again, or told after all."""
    return [
        (i["incident_type"], {s["device_id"] for s in i["scope"]}, datetime.fromisoformat(i["updated_at"]))
        for i in incidents
        if i["event"] in ("created", "reopened", "surfaced") and i["status"] != "suppressed"
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
    assert len(found) == len(truth) == 24
    assert "0 dead letters" in str(summary)


def test_a_satcom_outage_is_one_incident_that_names_what_suffers_and_resolves_by_itself(tmp_path: Path) -> None:
    ship = DemoShip(7)
    lines: list[str] = []
    replay([capture(ship, tmp_path / "demo.ndjson", 1)], load_policy(None), Settings(), lines.append)
    revisions = [json.loads(line) for line in lines]
    for fault in [fault for fault in ship.faults(START) if fault.kind == "satcom_outage"]:
        begin, end = fault.start.isoformat(), (fault.end + timedelta(seconds=600)).isoformat()
        during = [each for each in revisions if begin <= each["updated_at"].replace("Z", "+00:00") <= end]
        mine = [each for each in during if each["incident_type"] == "comms_outage"]
        assert len({each["incident_id"] for each in mine}) == 1
        assert mine[-1]["event"] == "resolved"
        assert mine[0]["severity"] == "critical"
        suffering = {(each["device_id"], each["service"]) for each in mine[-1]["impact"]}
        assert {("srv-shore-1", name) for name in ("mail-relay", "erp-sync", "weather")} < suffering
        assert {("gw-crew-1", "wifi"), ("vsat-1", "vsat")} < suffering
        symptoms = {each["incident_id"] for each in during if each["status"] == "suppressed"}
        assert len(symptoms) >= 6
        assert not [each for each in during if each["incident_id"] in symptoms and each["status"] in ("open", "ack")]
