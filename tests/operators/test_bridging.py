"""Two open incidents that turn out to be one situation are merged, and nothing is lost."""

from typing import Any

from schemas.anomaly import AnomalyEnriched
from tests.support.ship import POLICY, Ship, changed, clears, fires


def bridged(**changes: Any) -> Ship:
    types = dict(POLICY.correlate.incident_types)
    values = {"keys": ("device_id",), "bridge": ("fields.rhost",), "min_events": 1, **changes}
    types["auth_attack"] = types["auth_attack"].model_copy(update=values)
    return Ship(changed(incident_types=types))


def attack(seconds: float, device: str, rhost: str | None, **fields: Any) -> AnomalyEnriched:
    named = {"fields": {"rhost": rhost}} if rhost else {}
    return fires(seconds, device, "auth_attack", **named, **fields)


def test_one_attacker_on_two_devices_is_one_incident() -> None:
    ship = bridged().take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.9")).until(30)
    (incident,) = ship.by_status("open")
    assert [each.device_id for each in incident.scope] == ["fw-1", "srv-1"]
    assert len(ship.now) == 1


def test_a_link_found_later_merges_two_incidents() -> None:
    ship = bridged().take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"))
    assert len(ship.by_status("open")) == 2
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more")).until(30)
    first, second = ship.now.values()
    assert (first.status, second.status) == ("open", "resolved")
    assert second.merged_into == first.incident_id
    assert first.anomaly_count == 3
    assert {each.ref for each in second.evidence} <= {each.ref for each in first.evidence}
    assert ship.events(second.incident_id)[-1] == "merged"
    assert any(each.event == "merged" for each in first.timeline)


def test_after_a_merge_both_keys_lead_to_the_one_that_goes_on() -> None:
    ship = bridged().take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"))
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more")).restart()
    ship.take(attack(40, "srv-1", None, series="third")).until(60)
    assert len(ship.now) == 2
    assert len(ship.by_status("open")) == 1
    for series in ("aurora/fw-1/node/auth_attack", "aurora/srv-1/node/auth_attack", "more", "third"):
        ship.take(clears(100, "srv-1", "auth_attack", series=series))
    ship.until(1000)
    assert ship.by_status("open") == []


def test_what_lacks_the_link_is_not_merged() -> None:
    ship = bridged().take(attack(0, "fw-1", None), attack(5, "srv-1", None))
    assert len(ship.by_status("open")) == 2
