"""Two open incidents that turn out to be one situation are merged, and nothing is lost."""

from typing import Any

import pytest

from operators.correlate.classify import classify
from operators.detect.log_rules import pattern_rules
from operators.detect.pattern import PatternMatcher
from policy.correlate import InhibitPolicy, InhibitRule
from schemas.anomaly import AnomalyEnriched
from schemas.base import Level
from tests.support.make import at
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


def test_the_title_says_where_it_is() -> None:
    ship = bridged().take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"))
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more"))
    assert ship.by_status("open")[0].title == "Authentication attack on fw-1 and srv-1"
    ship.take(attack(20, "srv-2", "10.0.0.9")).until(60)
    assert ship.by_status("open")[0].title == "Authentication attack on fw-1 and 2 more devices"


def test_every_finding_that_waited_links() -> None:
    """Three findings make the second incident; the first of them, not the last, named the attacker of the first."""
    ship = bridged(min_events=2).take(attack(0, "srv-1", "10.0.0.9", series="a"))
    ship.take(attack(1, "fw-1", "10.0.0.9", series="b"), attack(2, "fw-1", "10.0.0.9", series="c"))
    ship.restart().take(attack(3, "srv-1", None, series="d")).until(60)
    (incident,) = ship.by_status("open")
    assert incident.anomaly_count == 4
    assert {each.device_id for each in incident.scope} == {"fw-1", "srv-1"}


def test_what_waits_under_a_key_joins_when_a_link_finds_the_incident() -> None:
    ship = bridged(min_events=2).take(attack(0, "srv-1", "10.0.0.7", series="a"))
    ship.take(attack(1, "fw-1", "10.0.0.9", series="b"), attack(2, "fw-1", "10.0.0.9", series="c"))
    ship.take(attack(3, "srv-1", "10.0.0.9", series="d")).until(60)
    (incident,) = ship.now.values()
    assert incident.anomaly_count == 4
    for series in "abcd":
        ship.take(clears(100, "srv-1", "auth_attack", series=series))
    assert [each.status for each in ship.until(1000).now.values()] == ["resolved"]


def test_after_its_age_every_key_of_a_merged_incident_leads_to_the_successor() -> None:
    ship = bridged(max_age_s=600).take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"))
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more"), attack(700, "fw-1", None, series="next"))
    ship.restart().take(attack(710, "srv-1", None, series="last"))
    assert len(ship.by_status("open")) == 1
    for series in ("aurora/fw-1/node/auth_attack", "aurora/srv-1/node/auth_attack", "more", "next", "last"):
        ship.take(clears(800, "srv-1", "auth_attack", series=series))
    assert ship.until(1200).by_status("open") == []


def test_a_word_on_the_old_incident_does_not_lead_its_key_back_to_it() -> None:
    ship = bridged(max_age_s=600).take(attack(0, "fw-1", None), attack(700, "fw-1", None, series="next"))
    old, new = ship.now
    ship.command(710, "comment", old, args={"text": "see the other"})
    ship.restart().take(attack(720, "fw-1", None, series="last")).until(800)
    assert (ship.now[old].anomaly_count, ship.now[new].anomaly_count) == (1, 2)


def test_a_silenced_and_a_told_incident_are_told_when_they_are_one() -> None:
    ship = bridged()
    silence = {"matchers": {"device_id": "fw-1"}, "duration_s": 600}
    ship.command(0, "silence", args=silence, reason="test")
    ship.take(attack(1, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"))
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more"))
    (incident,) = ship.by_status("open")
    assert ship.events(incident.incident_id) == ["created", "merged", "surfaced"]


def test_a_merged_incident_is_about_the_rules_of_both() -> None:
    ship = bridged().take(
        attack(0, "fw-1", "10.0.0.9", rule="rule_one"), attack(5, "srv-1", "10.0.0.7", rule="rule_two")
    )
    ship.take(attack(9, "srv-1", "10.0.0.9", rule="rule_one", series="more"))
    ship.command(10, "silence", args={"matchers": {"rule": "rule_one"}, "duration_s": 600}, reason="test")
    assert len(ship.by_status("open")) == 1
    ship.command(11, "silence", args={"matchers": {"rule": "rule_*"}, "duration_s": 600}, reason="test")
    assert ship.by_status("open") == []


def test_a_merged_cause_goes_on_explaining() -> None:
    rule = InhibitRule(cause=("auth_attack",), symptom=("app_degradation",))
    policy = bridged().policy
    ship = Ship(changed(policy, inhibit=InhibitPolicy(rules=(rule,))))
    ship.take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7"), fires(6, "srv-1", "app_degradation"))
    first, _, symptom = ship.now
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more")).restart().until(2000)
    assert (ship.now[symptom].status, ship.now[symptom].inhibited_by) == ("suppressed", first)
    assert len(ship.records) == 1, "it passes on, it is not held back anew"


def test_two_that_explain_each_other_through_a_third_do_not_hide_when_merged() -> None:
    """A explains B explains C; A and C turn out to be one: it is not explained by what it explains."""
    rule = InhibitRule(cause=("auth_attack", "network_issue"), symptom=("auth_attack", "network_issue"))
    ship = Ship(changed(bridged().policy, inhibit=InhibitPolicy(rules=(rule,))), b=("a",), c=("b",))
    ship.take(attack(0, "a", "10.0.0.9"), fires(1, "b", "network_issue"), attack(2, "c", "10.0.0.7"))
    assert len(ship.by_status("open")) == 1
    ship.take(attack(3, "c", "10.0.0.9", series="more")).until(100)
    assert [each.scope[0].device_id for each in ship.by_status("open")] == ["a"]
    assert [each.scope[0].device_id for each in ship.by_status("suppressed")] == ["b"]


def test_links_are_bounded_and_what_does_not_fit_is_counted() -> None:
    ship = bridged()
    for n in range(1005):
        ship.take(attack(n / 100, "fw-1", f"10.0.{n // 250}.{n % 250}"))
    assert ship.correlator.take_counts() == {"link_cap": 5}


def test_two_that_are_held_back_do_not_hide_behind_what_they_explain() -> None:
    """C is silenced and explains B, which explains A; A and C turn out to be one: it is told, with B as its impact."""
    rules = (
        InhibitRule(cause=("auth_attack",), symptom=("network_issue",)),
        InhibitRule(cause=("network_issue",), symptom=("auth_attack",)),
    )
    ship = Ship(changed(bridged().policy, inhibit=InhibitPolicy(rules=rules)), a=("b",), b=("c",), c=("b",))
    silence = {"matchers": {"device_id": "c"}, "duration_s": 600}
    ship.command(0, "silence", args=silence, reason="test")
    ship.take(attack(1, "c", "10.0.0.7"), fires(2, "b", "network_issue"), attack(3, "a", "10.0.0.9"))
    assert ship.by_status("open") == []
    ship.take(attack(4, "a", "10.0.0.7", series="more")).until(100)
    assert [each.scope[0].device_id for each in ship.by_status("open")] == ["c"]
    assert [each.scope[0].device_id for each in ship.by_status("suppressed")] == ["b"]


def shipped_attack(ship: Ship, seconds: float, device: str, rhost: str) -> None:
    """As many findings as the shipped policy asks for, from one address."""
    for n in range(POLICY.correlate.incident_types["auth_attack"].min_events):
        ship.take(attack(seconds + n, device, rhost, series=f"{device}/{rhost}/{n}"))


def test_the_shipped_policy_makes_one_of_two_attacks_by_one_attacker_and_loses_nothing() -> None:
    ship = Ship()
    shipped_attack(ship, 0, "fw-1", "203.0.113.7")
    shipped_attack(ship, 10, "srv-1", "198.51.100.23")
    first, second = ship.now
    ship.command(20, "assign", second, args={"assignee": "eva"})
    ship.take(attack(30, "srv-1", "203.0.113.7", series="both")).until(60)
    kept, gone = ship.now[first], ship.now[second]
    assert (kept.status, gone.status, gone.merged_into) == ("open", "resolved", first)
    assert ship.events(second)[-1] == "merged"
    assert (kept.anomaly_count, len(kept.evidence), kept.assignee) == (7, 7, "eva")
    assert {each.ref for each in gone.evidence} < {each.ref for each in kept.evidence}
    assert [each.device_id for each in kept.scope] == ["fw-1", "srv-1"]
    (entry,) = [each for each in kept.timeline if each.event == "merged"]
    assert second in entry.reason
    assert "(rhost=203.0.113.7)" in entry.reason


@pytest.mark.parametrize(
    "rhost", ["[guest_ip]", "[email]", "localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "UNKNOWN", "-"]
)
def test_what_names_nobody_links_nobody(rhost: str) -> None:
    ship = Ship()
    for n, device in enumerate(("fw-1", "srv-1")):
        shipped_attack(ship, 10 * n, device, rhost)
    assert len(ship.by_status("open")) == 2


def test_a_key_that_names_nobody_is_as_good_as_missing() -> None:
    ship = bridged(keys=("fields.rhost",), bridge=())
    ship.take(attack(0, "fw-1", "[guest_ip]"), attack(1, "srv-1", "[guest_ip]"))
    assert len(ship.by_status("open")) == 2
    ship.take(attack(2, "fw-1", "10.0.0.9"), attack(3, "srv-1", "10.0.0.9"))
    assert len(ship.by_status("open")) == 3


@pytest.mark.parametrize(
    "text",
    [
        "Failed password for invalid user admin from 203.0.113.7 port 4711 ssh2",
        "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=203.0.113.7  user=root",
        "Invalid user test from 203.0.113.7",
        "Authentication failed from 203.0.113.7",
    ],
)
def test_the_shipped_patterns_name_the_attacker_by_whom_attacks_are_linked(text: str) -> None:
    found = PatternMatcher(pattern_rules(POLICY)).search(text, "security", "sshd", Level.ERROR)
    assert found is not None
    assert classify(attack(0, "fw-1", None, fields=found.fields), POLICY).links == (
        "auth_attack|fields.rhost=203.0.113.7",
    )


def test_a_merged_incident_began_with_the_first_of_both() -> None:
    """What one of the two rests on was there before the outage, so that neither is its symptom."""
    rule = InhibitRule(cause=("comms_outage",), symptom=("auth_attack",))
    ship = Ship(changed(bridged().policy, inhibit=InhibitPolicy(rules=(rule,))), fw_1=("vsat_1",), srv_1=("vsat_1",))
    ship.take(attack(0, "fw-1", "10.0.0.9"), attack(5, "srv-1", "10.0.0.7", since=at(-900)))
    ship.take(attack(9, "srv-1", "10.0.0.9", series="more"), fires(50, "vsat-1", "comms_outage"))
    assert len(ship.by_status("open")) == 2
