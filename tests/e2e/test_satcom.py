"""A satcom outage through everything that is real: one incident that names what suffers, taken on, over by itself."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compose.demo.faults import Fault
from compose.demo.ship import DemoShip
from schemas.settings import Settings
from tests.support.nats import until
from tests.support.system import WATCHKEEPER, Ship, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 100
"""Of the outage are published at once; long enough for the signal's threshold (60 s) as well."""
CLEAR_S = 20
POLICY = {
    "detect": f"pattern_clear_s: {CLEAR_S}\n",
    "correlate": "incident_types:\n"
    + "".join(f"  {name}: {{hold_s: 2}}\n" for name in ("comms_outage", "link_degradation", "app_degradation")),
}


def the_outage(demo: DemoShip, start: datetime) -> Fault:
    return next(fault for fault in demo.faults(start) if fault.kind == "satcom_outage")


def telemetry(
    demo: DemoShip, fault: Fault, begin: datetime, seconds: int, others: tuple[str, ...]
) -> list[tuple[str, Any]]:
    """What the devices of the outage and some others send in these seconds."""
    wanted = {fault.device_id, *fault.affects, *others}
    sent = [item for second in range(seconds) for item in demo.step(begin + timedelta(seconds=second))]
    return [
        (subject, payload)
        for subject, payload in sent
        if (payload[0] if isinstance(payload, list) else payload)["device_id"] in wanted
    ]


def watchkeeper(ship: Ship, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NATS_URL": ship.nats_url, "WATCHKEEPER_API_PORT": str(ship.port), "USER": "ana"}
    return subprocess.run([str(WATCHKEEPER), *words], capture_output=True, text=True, env=environment, timeout=30)


def of_type(ship: Ship, incident_type: str) -> list[dict[str, Any]]:
    return [each for each in ship.incidents(limit=100) if each["incident_type"] == incident_type]


def with_impact(ship: Ship, *places: tuple[str, str]) -> dict[str, Any] | None:
    found = of_type(ship, "comms_outage")
    listed = {(each["device_id"], each["service"]) for one in found for each in one["impact"]}
    return found[0] if set(places) <= listed else None


def test_an_outage_is_one_incident_that_a_person_takes_on_and_that_resolves_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    for name, text in POLICY.items():
        (folder / f"{name}.yaml").write_text(text)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=900)
    demo = DemoShip(7, Settings().ship_id, start)
    fault = the_outage(demo, start)
    with running(tmp_path / "data", "--no-demo", "--no-host-metrics", "--policy", str(folder)) as ship:
        ship.publish(*demo.inventory())
        ship.publish(*telemetry(demo, fault, fault.start, SECONDS, ("fw-1", "rtr-1", "engine-1")))
        shore = [("srv-shore-1", name) for name in ("mail-relay", "erp-sync", "weather")]
        cause = until(
            lambda: with_impact(ship, *shore, ("gw-crew-1", "wifi"), ("vsat-1", "vsat")), seconds=15, what="its impact"
        )
        assert (cause["status"], cause["severity"]) == ("open", "critical")
        taken = watchkeeper(ship, "ack", cause["incident_id"][:8], "--reason", "calling the provider")
        assert taken.returncode == 0, taken.stdout + taken.stderr
        acknowledged = until(lambda: _with_status(ship, "ack"), seconds=10, what="an acknowledged incident")
        assert (acknowledged["incident_id"], acknowledged["assignee"]) == (cause["incident_id"], "ana")
        others = [each for each in ship.incidents(limit=100) if each["incident_id"] != cause["incident_id"]]
        assert len(others) >= 5
        assert {each["status"] for each in others} == {"suppressed"}
        assert {device for each in others for device in _devices(each)} <= {fault.device_id, *fault.affects}
        why = watchkeeper(ship, "why", others[0]["incident_id"])
        assert "depends on" in why.stdout or "the same device" in why.stdout, why.stdout + why.stderr

        ship.publish(*telemetry(demo, fault, fault.end, int(fault.lingers.total_seconds()), ()))
        ended = until(lambda: _with_status(ship, "resolved"), seconds=CLEAR_S + 20, what="the end of the incident")
        assert ended["incident_id"] == cause["incident_id"]
        assert ended["timeline"][-1]["by"] == "watchkeeper"
        everything = until(lambda: _all_resolved(ship), seconds=30, what="the end of the symptoms")
        told = [each for each in everything if ship.get(f"/api/v3/why/{each['incident_id']}")["told"]]
        assert [each["incident_id"] for each in told] == [cause["incident_id"]]


def _with_status(ship: Ship, status: str) -> dict[str, Any] | None:
    return next((each for each in of_type(ship, "comms_outage") if each["status"] == status), None)


def _devices(incident: dict[str, Any]) -> set[str]:
    return {each["device_id"] for each in incident["scope"]}


def _all_resolved(ship: Ship) -> list[dict[str, Any]] | None:
    found = ship.incidents(limit=100)
    return found if all(each["status"] == "resolved" for each in found) else None
