"""A cause and its symptoms are one incident with its impact."""

from typing import Any

from tests.support.ship import POLICY, Ship, changed, clears, fires

SATCOM = {"rtr_1": ("vsat_1",), "mail": ("rtr_1",), "crew": ("rtr_1",), "local": ()}


def satcom(**correlate: Any) -> Ship:
    return Ship(changed(**correlate), **SATCOM)


def test_a_satcom_outage_is_one_incident_with_its_impact() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"))
    ship.take(fires(5, "mail", "app_degradation"), fires(6, "crew", "app_degradation"))
    ship.take(fires(7, "rtr-1", "network_issue"), fires(8, "vsat-1", "link_degradation")).until(60)
    (cause,) = ship.by_status("open")
    assert cause.incident_type == "comms_outage"
    assert sorted({each.device_id for each in cause.impact}) == ["crew", "mail", "rtr-1", "vsat-1"]
    mail = next(each for each in ship.by_status("suppressed") if each.scope[0].device_id == "mail")
    assert mail.timeline[0].event == "created"
    assert "mail depends on rtr-1, which depends on vsat-1" in next(
        each.reason for each in cause.impact if each.device_id == "mail"
    )
    assert {(each.kind, each.by) for each in ship.records} == {("inhibited", cause.incident_id)}
    assert len(ship.records) == 4


def test_a_symptom_that_came_first_is_taken_back() -> None:
    ship = satcom().take(fires(0, "mail", "app_degradation"), fires(30, "vsat-1", "comms_outage"))
    (symptom,) = ship.by_status("suppressed")
    assert ship.events(symptom.incident_id) == ["created", "suppressed"]
    ship.until(60)
    assert [each.device_id for each in ship.by_status("open")[0].impact] == ["mail"]


def test_one_that_a_person_has_taken_on_or_that_is_old_is_left_alone() -> None:
    ship = satcom().take(fires(0, "mail", "app_degradation"), fires(1, "crew", "app_degradation"))
    old, taken = ship.incidents[0].incident_id, ship.incidents[1].incident_id
    ship.command(2, "ack", taken)
    ship.take(fires(601, "vsat-1", "comms_outage"))
    assert ship.now[taken].status == "ack"
    assert ship.now[old].status == "open"


def test_what_does_not_depend_on_the_cause_is_an_incident_of_its_own() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(1, "local", "app_degradation"))
    ship.take(fires(2, "mail", "resource_pressure"))
    assert len(ship.by_status("open")) == 3


def test_a_cause_does_not_explain_downwards() -> None:
    ship = satcom().take(fires(0, "mail", "network_issue"), fires(1, "vsat-1", "stale_telemetry"))
    assert len(ship.by_status("open")) == 2


def test_symptoms_that_outlast_their_cause_are_told() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    ship.take(fires(6, "crew", "app_degradation"))
    ship.take(clears(100, "vsat-1", "comms_outage"), clears(150, "crew", "app_degradation")).until(220)
    assert [each.status for each in ship.now.values() if each.incident_type == "comms_outage"] == ["resolved"]
    assert len(ship.by_status("suppressed")) == 2
    ship.until(220 + 360 + 1)
    (mail,) = ship.by_status("open")
    assert ship.events(mail.incident_id) == ["created", "surfaced"]
    assert mail.inhibited_by is None
    crew = next(each for each in ship.now.values() if each.scope[0].device_id == "crew")
    assert ship.events(crew.incident_id) == ["created", "resolved"]


def test_a_symptom_that_is_held_back_names_its_cause() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    assert ship.by_status("suppressed")[0].inhibited_by == ship.by_status("open")[0].incident_id


def test_a_restart_changes_nothing() -> None:
    ship, stopped = satcom(), satcom()
    before = [fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation")]
    for each in (ship, stopped):
        each.take(*before)
    stopped.restart()
    for each in (ship, stopped):
        each.take(clears(100, "vsat-1", "comms_outage")).until(220).until(2000)
    assert ship.said == stopped.said


def test_causes_do_not_hide_each_other() -> None:
    rules = POLICY.correlate.inhibit.rules[0].model_copy(update={"symptom": ("comms_outage", "network_issue")})
    inhibit = POLICY.correlate.inhibit.model_copy(
        update={"rules": (rules.model_copy(update={"cause": ("comms_outage", "network_issue")}),)}
    )
    ship = Ship(changed(inhibit=inhibit), a=("b",), b=("a",))
    ship.take(fires(0, "a", "comms_outage"), fires(1, "b", "network_issue"), fires(2, "a", "comms_outage", series="x"))
    ship.until(30)
    assert [each.incident_type for each in ship.by_status("open")] == ["comms_outage"]
    assert len(ship.by_status("suppressed")) == 1


def test_a_silenced_cause_still_explains() -> None:
    ship = satcom()
    ship.command(0, "silence", args={"matchers": {"device_id": "vsat-1"}, "duration_s": 3600}, reason="known")
    ship.take(fires(1, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    assert ship.by_status("open") == []
