"""One tracking id through every stage, in both directions, and in the logs."""

import uuid
from functools import partial
from typing import Any

import pytest

from tests.e2e.test_fast_path import attack, now, of_device
from tests.support.nats import until
from tests.support.system import Ship

pytestmark = pytest.mark.e2e


def test_one_id_leads_through_every_stage(ship: Ship) -> None:
    lines = attack("gw-trace")
    ship.publish(*lines)
    (incident,) = until(lambda: of_device(ship, "gw-trace"), seconds=10, what="an incident")
    for _, line in lines:
        tracking_id = line["tracking_id"]
        trace = until(partial(complete, ship, tracking_id), seconds=10, what="a complete trace")
        stages = [stage["stage"] for stage in trace["stages"]]
        assert stages[:4] == ["ingested", "detected", "enriched", "correlated"]
        assert trace["trace"]["logs"][0]["msg"] == line["msg"]
        assert trace["trace"]["incidents"][0]["incident_id"] == incident["incident_id"]
        assert all(stage["at"] >= trace["stages"][0]["at"] for stage in trace["stages"])


def complete(ship: Ship, tracking_id: str) -> dict[str, Any] | None:
    trace: dict[str, Any] | None = ship.get(f"/api/v3/trace/{tracking_id}")
    return trace if trace and trace["complete"] else None


def test_an_incident_leads_down_to_its_raw_lines(ship: Ship) -> None:
    ship.publish(*attack("gw-down"))
    (incident,) = until(lambda: of_device(ship, "gw-down"), seconds=10, what="an incident")
    whole = ship.get(f"/api/v3/incidents/{incident['incident_id']}")
    for each in whole["evidence"]:
        trace = ship.get(f"/api/v3/trace/{each['tracking_id']}")
        assert "Failed password for root" in trace["trace"]["logs"][0]["msg"]


def test_a_line_that_nothing_found_interesting_is_traced_as_far_as_it_went(ship: Ship) -> None:
    tracking_id = str(uuid.uuid4())
    line = {"tracking_id": tracking_id, "ts": now(), "device_id": "gw-1", "level": "info", "msg": "all is well"}
    ship.publish(("logs.ingested.app.cron", line))
    trace = until(lambda: ship.get(f"/api/v3/trace/{tracking_id}"), seconds=10, what="the line in the archive")
    assert [stage["stage"] for stage in trace["stages"]] == ["ingested"]
    assert not trace["complete"]
    assert "detected" in {missing["stage"] for missing in trace["missing"]}


def test_an_id_nobody_has_seen_is_not_found(ship: Ship) -> None:
    answer = ship.http.get(f"/api/v3/trace/{uuid.uuid4()}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
