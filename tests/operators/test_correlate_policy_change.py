"""A policy that changes over live state: what has begun keeps its terms, what begins takes the new ones."""

from typing import Any

from policy import Policy
from policy.correlate import InhibitPolicy
from policy.maintenance import MaintenanceWindow, SubjectMatch
from tests.support.make import at
from tests.support.ship import POLICY, Ship, changed, clears, fires

BACKUP = MaintenanceWindow(
    match=SubjectMatch(device_id="srv-1"),
    rrule="FREQ=DAILY;BYHOUR=0;BYMINUTE=0",
    start=at(0).replace(tzinfo=None),
    duration_s=600,
    owner="eva",
    reason="backup",
)


def with_type(name: str, correlate: dict[str, Any] | None = None, **values: Any) -> Policy:
    types = dict(POLICY.correlate.incident_types)
    types[name] = types[name].model_copy(update=values)
    return changed(incident_types=types, **(correlate or {}))


def more(seconds: float, n: int, device: str = "srv-1") -> Any:
    return fires(seconds, device, "resource_pressure", series=f"m{n}")


def test_an_open_incident_keeps_its_hold_the_next_takes_the_new_one() -> None:
    ship = Ship(with_type("resource_pressure", hold_s=60)).take(fires(0, "srv-1", "resource_pressure"))
    ship.restart(with_type("resource_pressure", hold_s=600)).take(fires(1, "srv-2", "resource_pressure"))
    ship.take(clears(10, "srv-1", "resource_pressure"), clears(11, "srv-2", "resource_pressure")).until(3000)
    assert {each.scope[0].device_id: each.resolved_at for each in ship.now.values()} == {
        "srv-1": at(70),
        "srv-2": at(611),
    }


def test_an_open_incident_keeps_its_age_and_title() -> None:
    ship = Ship(with_type("resource_pressure", max_age_s=600)).take(more(0, 0))
    ship.restart(with_type("resource_pressure", max_age_s=7200, title="Hot")).take(more(601, 1), more(5000, 2))
    old, new = ship.until(5100).now.values()
    assert (old.title, old.anomaly_count, new.title, new.anomaly_count) == (
        "Resource pressure on srv-1",
        1,
        "Hot on srv-1",
        2,
    )


def test_what_waits_keeps_its_window_and_threshold_another_key_takes_the_new() -> None:
    ship = Ship(with_type("resource_pressure", min_events=3, window_s=600)).take(more(0, 0))
    ship.restart(with_type("resource_pressure", min_events=2, window_s=60))
    ship.take(more(500, 1), more(501, 0, "srv-2"))
    assert ship.incidents == []
    ship.take(more(502, 1, "srv-2"), more(590, 2))
    assert [(each.scope[0].device_id, each.anomaly_count) for each in ship.incidents] == [("srv-2", 2), ("srv-1", 3)]


def test_a_lower_threshold_does_not_leave_the_old_one_waiting_for_ever() -> None:
    ship = Ship(with_type("resource_pressure", min_events=50, window_s=600)).take(more(0, 0))
    ship.restart(with_type("resource_pressure", min_events=1)).until(601).take(more(602, 1))
    assert [each.anomaly_count for each in ship.incidents] == [1]


def test_an_incident_type_that_is_gone_lives_to_its_end() -> None:
    ship = Ship().take(fires(0, "pump-1", "equipment_fault", metric_name="x", domain="net"))
    types = {name: kind for name, kind in POLICY.correlate.incident_types.items() if name != "equipment_fault"}
    ship.restart(changed(incident_types=types, default_incident_type="network_issue"))
    ship.take(clears(10, "pump-1", "equipment_fault", domain="net")).until(1000)
    (old,) = ship.now.values()
    assert (old.incident_type, old.status, old.resolved_at) == ("equipment_fault", "resolved", at(310))
    ship.take(fires(5000, "pump-1", "equipment_fault", metric_name="x", domain="net"))
    assert ship.incidents[-1].incident_type == "network_issue"


def test_what_is_inhibited_stays_so_while_its_cause_lives_though_the_rule_is_gone() -> None:
    ship = Ship(mail=("vsat_1",), crew=("vsat_1",))
    ship.take(fires(0, "vsat-1", "comms_outage"), fires(1, "mail", "app_degradation"))
    ship.restart(changed(inhibit=InhibitPolicy())).take(fires(2, "crew", "app_degradation"))
    ship.take(fires(3, "mail", "app_degradation", series="second")).until(100)
    assert {each.scope[0].device_id: each.status for each in ship.now.values()} == {
        "vsat-1": "open",
        "mail": "suppressed",
        "crew": "open",
    }
    ship.take(clears(200, "vsat-1", "comms_outage")).until(2000)
    assert ship.events(next(each.incident_id for each in ship.by_status("open")))
    assert {each.scope[0].device_id for each in ship.by_status("open")} == {"mail", "crew"}


def test_lower_caps_hold_for_what_comes_and_shorten_what_is_told() -> None:
    policy = changed(max_evidence=10, max_timeline=20)
    ship = Ship(policy).take(*(more(n, n) for n in range(8)))
    (incident_id,) = ship.now
    for n in range(10):
        ship.command(20 + n, "comment", incident_id, args={"text": f"{n}"})
    ship.take(fires(40, "srv-2", "resource_pressure"))
    ship.restart(changed(max_evidence=3, max_timeline=4, max_open_incidents=1))
    ship.take(more(50, 9), fires(51, "srv-3", "resource_pressure"))
    ship.command(60, "comment", incident_id, args={"text": "last"})
    last = ship.now[incident_id]
    assert (len(last.evidence), last.evidence_dropped, len(last.timeline)) == (8, 1, 4)
    assert (last.timeline[0].event, last.timeline[-1].reason) == ("created", "last")
    assert len(ship.now) == 2
    assert ship.correlator.take_counts() == {"incident_cap": 1}


def test_a_maintenance_window_that_is_gone_keeps_what_it_held_until_its_end() -> None:
    maintenance = POLICY.maintenance.model_copy(update={"windows": {"backup": BACKUP}})
    ship = Ship(POLICY.model_copy(update={"maintenance": maintenance})).take(fires(1, "srv-1", "resource_pressure"))
    assert [(each.kind, each.until) for each in ship.records] == [("maintenance", at(600))]
    ship.restart(POLICY).take(more(100, 1)).until(599)
    assert [each.status for each in ship.now.values()] == ["suppressed"]
    ship.until(600)
    assert [each.status for each in ship.now.values()] == ["open"]


def test_a_storm_goes_on_under_a_policy_of_smaller_storms() -> None:
    storm = POLICY.correlate.storm.model_copy(update={"opened": 6, "within_s": 60, "calm_s": 120})
    ship = Ship(changed(storm=storm)).take(*(fires(n, f"d{n}", "equipment_fault") for n in range(6)))
    ship.restart(changed(storm=storm.model_copy(update={"opened": 2, "calm_s": 30})))
    ship.take(*(clears(20, f"d{n}", "equipment_fault") for n in range(5))).until(100)
    assert [each.scope[0].device_id for each in ship.by_status("open")] == ["d5"]


def test_what_grows_beyond_its_maintenance_window_is_told() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["resource_pressure"] = types["resource_pressure"].model_copy(update={"keys": ("service",)})
    policy = changed(incident_types=types)
    maintenance = POLICY.maintenance.model_copy(update={"windows": {"backup": BACKUP}})
    ship = Ship(policy.model_copy(update={"maintenance": maintenance})).take(more(1, 0))
    assert len(ship.by_status("suppressed")) == 1
    ship.take(more(2, 1, "srv-2"))
    assert ship.events(ship.incidents[0].incident_id) == ["created", "surfaced"]


def test_a_maintenance_window_that_opens_does_not_take_back_what_was_told() -> None:
    maintenance = POLICY.maintenance.model_copy(update={"windows": {"backup": BACKUP}})
    day = 86_400.0
    ship = Ship(POLICY.model_copy(update={"maintenance": maintenance})).take(more(day - 10, 0), more(day + 10, 1))
    assert [each.status for each in ship.until(day + 60).now.values()] == ["open"]
