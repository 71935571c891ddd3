"""A cause and its symptoms are one incident with its impact."""

from typing import Any

import pytest

from schemas.base import Severity
from schemas.insight import EnrichmentRequest
from tests.support.make import at
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


def test_a_symptom_of_an_acknowledged_cause_stays_its_impact() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"))
    (cause,) = ship.now
    ship.command(1, "ack", cause)
    ship.take(fires(5, "mail", "app_degradation")).until(60)
    assert [each.inhibited_by for each in ship.by_status("suppressed")] == [cause]
    assert [each.device_id for each in ship.now[cause].impact] == ["mail"]


def test_a_cause_resolved_by_hand_lets_go_of_its_symptoms_after_surface_s() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    cause, mail = ship.now
    ship.command(10, "resolve", cause)
    ship.restart().until(369)
    assert ship.now[mail].status == "suppressed"
    ship.until(370)
    assert ship.events(mail) == ["created", "surfaced"]


def test_a_cause_reopened_by_hand_while_it_fires_explains_again() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    cause, mail = ship.now
    ship.command(10, "resolve", cause)
    ship.take(fires(20, "crew", "app_degradation"))
    assert [each.scope[0].device_id for each in ship.by_status("open")] == ["crew"]
    ship.command(30, "reopen", cause)
    ship.until(2000)
    assert [each.incident_id for each in ship.by_status("open")] == [cause]
    assert ship.events(mail) == ["created"]
    crew = next(each for each in ship.now.values() if each.scope[0].device_id == "crew")
    assert ship.events(crew.incident_id) == ["created", "suppressed"]


def test_a_cause_that_comes_back_keeps_its_symptoms() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    ship.take(clears(10, "vsat-1", "comms_outage")).until(200)
    ship.take(fires(300, "vsat-1", "comms_outage")).restart().until(3000)
    assert [each.incident_type for each in ship.by_status("open")] == ["comms_outage"]
    assert [each.ts for each in ship.records if each.kind == "inhibited"] == [at(5), at(490)]


def test_a_cause_that_comes_back_does_not_take_back_what_was_told_long_before() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), clears(10, "vsat-1", "comms_outage")).until(200)
    ship.take(fires(300, "mail", "app_degradation"), fires(1500, "vsat-1", "comms_outage"))
    assert len(ship.by_status("open")) == 2


def test_the_successor_of_a_cause_goes_on_as_the_cause() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["comms_outage"] = types["comms_outage"].model_copy(update={"max_age_s": 600})
    ship = satcom(incident_types=types).take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    old, mail = ship.now
    ship.command(6, "assign", old, args={"assignee": "eva"})
    ship.take(fires(700, "vsat-1", "comms_outage", series="second")).restart().until(720)
    assert len(ship.records) == 1, "it passes on, it is not held back anew"
    (new,) = ship.until(2000).by_status("open")
    assert len(ship.records) == 1
    assert (new.successor_of, new.assignee) == (old, "eva")
    assert [each.device_id for each in new.impact] == ["mail"]
    assert ship.now[mail].inhibited_by == new.incident_id
    for n, series in enumerate(("aurora/vsat-1/node/comms_outage", "second")):
        ship.take(clears(2000 + n, "vsat-1", "comms_outage", series=series))
    ship.until(2001 + 120 + 360)
    assert [each.incident_id for each in ship.by_status("open")] == [mail]


def test_a_symptom_that_ends_by_age_has_a_successor_that_is_held_back_too() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"max_age_s": 600})
    ship = satcom(incident_types=types)
    ship.take(fires(0, "vsat-1", "comms_outage", series="aurora/vsat-1/modem/log:down", anomaly_type="log_pattern"))
    ship.take(fires(5, "mail", "app_degradation"), fires(700, "mail", "app_degradation", series="second")).until(800)
    assert [each.incident_type for each in ship.by_status("open")] == ["comms_outage"]


def test_of_two_causes_the_second_explains_when_the_first_is_over() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(1, "rtr-1", "comms_outage"))
    ship.take(fires(5, "mail", "app_degradation"))
    far, near, mail = ship.now
    assert ship.now[mail].inhibited_by == near
    ship.take(clears(10, "rtr-1", "comms_outage")).until(1000)
    assert ship.events(mail) == ["created", "updated"]
    assert ship.now[mail].inhibited_by == far
    assert [each.device_id for each in ship.now[far].impact] == ["mail"]
    ship.take(clears(1000, "vsat-1", "comms_outage")).until(2000)
    assert [each.incident_id for each in ship.by_status("open")] == [mail]


@pytest.mark.parametrize("first", ["vsat-1", "rtr-1"])
def test_of_two_causes_the_nearest_explains_whichever_came_first(first: str) -> None:
    second = "rtr-1" if first == "vsat-1" else "vsat-1"
    ship = satcom().take(fires(0, first, "comms_outage"), fires(1, second, "comms_outage"))
    ship.take(fires(5, "mail", "app_degradation")).until(60)
    told = {each.scope[0].device_id: each for each in ship.by_status("open")}
    (mail,) = ship.by_status("suppressed")
    assert mail.inhibited_by == told["rtr-1"].incident_id
    assert [each.device_id for each in told["rtr-1"].impact] == ["mail"]
    assert told["vsat-1"].impact == ()


def test_near_is_counted_over_all_devices_of_the_symptom() -> None:
    """The router is one step from mail and from crew; crew itself is none from crew, but three from mail."""
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"keys": ("service",), "min_events": 2})
    ship = Ship(changed(incident_types=types), mail=("rtr_1",), crew=("rtr_1",), rtr_1=("sw_2",), sw_2=("crew",))
    ship.take(fires(0, "crew", "comms_outage"), fires(1, "rtr-1", "comms_outage"))
    _, router = ship.now
    ship.take(fires(5, "mail", "app_degradation", series="a"), fires(6, "crew", "app_degradation", series="b"))
    (symptom,) = ship.by_status("suppressed")
    assert [each.device_id for each in symptom.scope] == ["mail", "crew"]
    assert symptom.inhibited_by == router


def test_of_causes_equally_near_the_one_that_is_told_explains_then_the_earliest() -> None:
    two = {"mail": ("rtr_1", "rtr_2"), "rtr_1": (), "rtr_2": ()}
    ship = Ship(changed(), **two).take(fires(0, "rtr-2", "comms_outage"), fires(1, "rtr-1", "comms_outage"))
    ship.take(fires(5, "mail", "app_degradation"))
    assert ship.by_status("suppressed")[0].inhibited_by == ship.incidents[0].incident_id
    ship = Ship(changed(), **two)
    ship.command(0, "silence", args={"matchers": {"device_id": "rtr-2"}, "duration_s": 3600}, reason="known")
    ship.take(fires(0, "rtr-2", "comms_outage"), fires(1, "rtr-1", "comms_outage"))
    ship.take(fires(5, "mail", "app_degradation"))
    (told,) = ship.by_status("open")
    mail = next(each for each in ship.now.values() if each.incident_type == "app_degradation")
    assert mail.inhibited_by == told.incident_id


def test_a_symptom_that_gets_worse_stays_its_causes_impact() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    worse = fires(6, "mail", "app_degradation", series="second", severity=Severity.CRITICAL)
    last = list(ship.take(worse).now.values())[-1]
    assert (ship.events(last.incident_id), last.status, last.severity) == (
        ["created", "escalated"],
        "suppressed",
        "critical",
    )


def test_a_symptom_that_spreads_to_where_its_cause_does_not_reach_is_told() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"keys": ("service",)})
    ship = satcom(incident_types=types).take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    ship.take(fires(6, "local", "app_degradation"))
    mail = list(ship.now)[1]
    assert ship.events(mail) == ["created", "surfaced"]


def test_nobody_is_asked_to_enrich_what_is_held_back_until_it_is_told() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    cause, mail = ship.now
    assert _asked(ship) == [cause]
    ship.take(clears(10, "vsat-1", "comms_outage")).until(2000)
    assert _asked(ship) == [cause, mail]


def _asked(ship: Ship) -> list[str]:
    return [each.incident_id for each in ship.said if isinstance(each, EnrichmentRequest)]


def test_an_inhibition_says_that_it_lasts_a_day_at_most_since_nobody_knows() -> None:
    ship = satcom().take(fires(0, "vsat-1", "comms_outage"), fires(5, "mail", "app_degradation"))
    (record,) = ship.records
    assert record.until == at(5 + 86_400)


def test_a_storm_while_a_cause_inhibits_ends_and_the_cause_still_explains() -> None:
    storm = POLICY.correlate.storm.model_copy(update={"opened": 4, "within_s": 60, "calm_s": 120})
    ship = satcom(storm=storm).take(fires(0, "vsat-1", "comms_outage"), fires(1, "mail", "app_degradation"))
    ship.take(*(fires(2 + n, f"d{n}", "equipment_fault") for n in range(4))).take(fires(10, "crew", "app_degradation"))
    assert [each.incident_type for each in ship.by_status("open")] == ["incident_storm"]
    ship.restart().take(*(clears(20, f"d{n}", "equipment_fault") for n in range(4))).until(300)
    assert [each.incident_type for each in ship.by_status("open")] == ["comms_outage"]
    held = [each for each in ship.by_status("suppressed") if each.incident_type == "app_degradation"]
    assert len(held) == 2


def test_a_symptom_whose_cause_is_over_is_held_back_by_the_next() -> None:
    lost = "aurora/vsat-1/modem/log:carrier_lost"
    ship = satcom().take(fires(0, "rtr-1", "network_issue"), fires(5, "mail", "app_degradation"))
    ship.take(clears(100, "rtr-1", "network_issue")).until(200)
    for seconds in range(210, 400, 20):
        ship.take(fires(seconds, "vsat-1", "comms_outage", series=lost))
        ship.take(fires(seconds + 9, "mail", "app_degradation", series="mail/two"))
    ship.until(900)
    (outage,) = ship.by_status("open")
    assert outage.incident_type == "comms_outage"
    assert [each.device_id for each in outage.impact] == ["mail"]
    (mail,) = ship.by_status("suppressed")
    assert mail.inhibited_by == outage.incident_id


def chain() -> tuple[Ship, str, str, str]:
    """The modem's outage explains the router's issue, and that, the nearest, explains mail."""
    ship = satcom().take(fires(0, "rtr-1", "network_issue"), fires(5, "vsat-1", "comms_outage"))
    ship.take(fires(10, "mail", "app_degradation")).until(60)
    router, modem, mail = ship.now
    return ship, router, modem, mail


def test_a_nearest_cause_that_is_a_symptom_leads_on_to_the_one_that_is_told() -> None:
    ship, router, modem, mail = chain()
    assert [each.incident_id for each in ship.by_status("open")] == [modem]
    assert (ship.now[mail].inhibited_by, ship.now[router].inhibited_by) == (router, modem)
    assert sorted(each.device_id for each in ship.now[modem].impact) == ["mail", "rtr-1"]
    assert "mail depends on rtr-1, which depends on vsat-1" in ship.now[modem].impact[-1].reason


def test_when_the_middle_of_a_chain_is_over_its_end_explains_and_nobody_is_told_in_between() -> None:
    ship, router, modem, mail = chain()
    ship.take(clears(100, "rtr-1", "network_issue")).restart().until(3000)
    assert ship.now[router].status == "resolved"
    assert (ship.now[mail].status, ship.now[mail].inhibited_by) == ("suppressed", modem)
    assert "surfaced" not in ship.events(mail)


def test_when_the_end_of_a_chain_is_over_its_middle_is_told_with_its_impact() -> None:
    ship, router, _, mail = chain()
    ship.take(clears(100, "vsat-1", "comms_outage")).restart().until(3000)
    assert [each.incident_id for each in ship.by_status("open")] == [router]
    assert [each.device_id for each in ship.now[router].impact] == ["mail"]
    assert ship.now[mail].inhibited_by == router


@pytest.mark.parametrize(("silent_since", "held"), [(100, False), (339, False), (340, True), (399, True)])
def test_what_had_begun_long_before_is_no_symptom_though_it_is_told_after(silent_since: float, held: bool) -> None:
    """Mail has been silent since then; that is found out at 402, two seconds after the modem's outage began."""
    ship = satcom().take(fires(400, "vsat-1", "comms_outage"))
    ship.restart().take(fires(402, "mail", "stale_telemetry", anomaly_type="stale", since=at(silent_since)))
    assert len(ship.by_status("suppressed")) == held


def test_what_had_begun_long_before_is_not_taken_back_either() -> None:
    ship = satcom().take(fires(398, "mail", "stale_telemetry", anomaly_type="stale", since=at(100)))
    ship.restart().take(fires(400, "vsat-1", "comms_outage"))
    assert len(ship.by_status("open")) == 2


def test_an_hour_late_is_judged_by_its_own_time() -> None:
    ship = satcom().take(fires(7200, "vsat-1", "comms_outage"), fires(7210, "mail", "app_degradation", ts=at(3600)))
    assert len(ship.by_status("open")) == 2
    ship.take(fires(7220, "crew", "app_degradation", ts=at(7190)))
    assert [each.scope[0].device_id for each in ship.by_status("suppressed")] == ["crew"]


def test_what_comes_late_together_is_judged_by_its_own_times() -> None:
    lost = {"series": "aurora/vsat-1/modem/log:carrier_lost", "anomaly_type": "log_pattern", "since": at(7200)}
    ship = satcom().take(fires(7200, "vsat-1", "comms_outage", ts=at(3600), **lost))
    ship.take(fires(7201, "mail", "app_degradation", ts=at(3605), since=at(3602)))
    assert [each.scope[0].device_id for each in ship.by_status("suppressed")] == ["mail"]


def test_the_successor_of_what_had_begun_before_is_no_symptom() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"max_age_s": 600})
    ship = satcom(incident_types=types).take(fires(0, "mail", "app_degradation"), fires(550, "vsat-1", "comms_outage"))
    ship.restart().take(fires(700, "mail", "app_degradation", series="second"))
    assert {each.scope[0].device_id for each in ship.by_status("open")} == {"mail", "vsat-1"}


def test_what_begins_again_after_its_end_is_judged_anew() -> None:
    ship = satcom().take(fires(0, "mail", "app_degradation"), clears(10, "mail", "app_degradation")).until(300)
    ship.take(fires(600, "vsat-1", "comms_outage"), fires(610, "mail", "app_degradation"))
    (mail,) = ship.by_status("suppressed")
    assert ship.events(mail.incident_id) == ["created", "resolved", "reopened"]
