"""What situation an anomaly speaks of: by policy's rules, its own incident type, or the default."""

from typing import Any

import pytest

from operators.correlate.classify import Situation, classify
from policy.correlate import CorrelateRule, Match
from schemas.base import Severity
from tests.support.make import at, enriched
from tests.support.ship import POLICY, Ship, changed


def of(device_type: str | None = None, rules: tuple[CorrelateRule, ...] | None = None, **fields: Any) -> Situation:
    policy = POLICY if rules is None else changed(rules=rules)
    return classify(enriched(0, **{"incident_type": None, **fields}), policy, device_type)


@pytest.mark.parametrize(
    ("fields", "incident_type"),
    [
        ({"domain": "comms"}, "link_degradation"),
        ({"domain": "comms", "rule": "carrier_lost", "incident_type": "comms_outage"}, "comms_outage"),
        ({"domain": "system", "metric_name": "cpu_pct"}, "resource_pressure"),
        ({"domain": "system", "metric_name": "memory_used_pct"}, "resource_pressure"),
        ({"domain": "system", "metric_name": "disk_var_pct"}, "resource_pressure"),
        ({"domain": "security", "incident_type": "auth_attack"}, "auth_attack"),
        ({"domain": "app"}, "app_degradation"),
        ({"domain": "system", "anomaly_type": "log_rate", "metric_name": None}, "app_degradation"),
        ({"domain": "net"}, "network_issue"),
        ({"domain": "security"}, "security_alert"),
        ({"domain": "net", "anomaly_type": "stale"}, "stale_telemetry"),
        ({"domain": "system", "metric_name": "bearing_3_temp_c"}, "equipment_fault"),
        ({"domain": "net", "incident_type": "no such type"}, "network_issue"),
    ],
)
def test_the_shipped_policy_has_a_type_for_everything(fields: dict[str, Any], incident_type: str) -> None:
    assert of(**fields).incident_type == incident_type


LIKE: dict[str, Any] = {
    "domain": "net",
    "anomaly_type": "log_pattern",
    "rule": "link_down",
    "metric_name": "port_errors",
    "service": "switch",
}


@pytest.mark.parametrize(
    ("match", "other"),
    [
        ({"domain": "net"}, {"domain": "app"}),
        ({"anomaly_type": "log_pattern"}, {"anomaly_type": "log_rate"}),
        ({"rule": "link_*"}, {"rule": "flap"}),
        ({"rule": "link_*"}, {"rule": None}),
        ({"metric": "port_*"}, {"metric_name": "cpu_pct"}),
        ({"metric": "port_*"}, {"metric_name": None}),
        ({"service": "sw*"}, {"service": "sshd"}),
        ({"device_type": "mod?m"}, {"device_type": "router"}),
        ({"device_type": "mod?m"}, {"device_type": None}),
    ],
)
def test_a_rule_matches_on_each_thing_that_it_names(match: dict[str, Any], other: dict[str, Any]) -> None:
    rules = (CorrelateRule(match=Match(**match), incident_type="security_alert"),)
    assert of("modem", rules, **LIKE).incident_type == "security_alert"
    unlike = {**LIKE, "device_type": "modem", **other}
    assert of(unlike.pop("device_type"), rules, **unlike).incident_type == POLICY.correlate.default_incident_type


def test_all_that_a_rule_names_must_hold_and_the_first_that_matches_decides() -> None:
    rules = (
        CorrelateRule(match=Match(domain="net", service="sshd"), incident_type="security_alert"),
        CorrelateRule(match=Match(domain="net"), incident_type="comms_outage"),
        CorrelateRule(match=Match(), incident_type="app_degradation"),
    )
    assert of(None, rules, **LIKE).incident_type == "comms_outage"
    assert of(None, rules, **{**LIKE, "domain": "app"}).incident_type == "app_degradation"


def test_a_finding_keeps_its_own_type_unless_a_rule_names_the_finding_or_the_kind_of_device() -> None:
    own = {**LIKE, "incident_type": "network_issue"}
    wide = CorrelateRule(match=Match(domain="net"), incident_type="security_alert")
    named = CorrelateRule(match=Match(rule="link_down"), incident_type="comms_outage")
    on_modems = CorrelateRule(match=Match(device_type="modem"), incident_type="link_degradation")
    assert of("modem", (wide,), **own).incident_type == "network_issue"
    assert of("modem", (wide, named), **own).incident_type == "comms_outage"
    assert of("modem", (wide, on_modems, named), **own).incident_type == "link_degradation"
    assert of("router", (wide, on_modems), **own).incident_type == "network_issue"


def test_what_a_rule_sets_goes_before_what_the_type_says() -> None:
    rule = CorrelateRule(
        match=Match(rule="link_down"),
        incident_type="network_issue",
        keys=("service", "fields.port"),
        window_s=77,
        min_events=4,
        hold_s=5,
        severity=Severity.CRITICAL,
    )
    found = of(None, (rule,), **LIKE, fields={"port": "Gi0/1"})
    kind = POLICY.correlate.incident_types["network_issue"]
    assert found.corr_keys == {"service": "switch", "fields.port": "Gi0/1"}
    assert (found.terms.window_s, found.terms.min_events, found.terms.hold_s, found.severity) == (
        77,
        4,
        5,
        Severity.CRITICAL,
    )
    assert (found.terms.title, found.terms.max_age_s) == (kind.title, kind.max_age_s)
    plain = of(None, (rule,), **{**LIKE, "rule": "flap", "incident_type": "network_issue"})
    assert (plain.terms.min_events, plain.corr_keys, plain.severity) == (1, {"device_id": "srv-1"}, None)


def test_a_rule_by_the_kind_of_device_holds_for_what_the_inventory_says() -> None:
    rule = CorrelateRule(
        match=Match(device_type="modem"), incident_type="comms_outage", min_events=2, severity=Severity.LOW
    )
    ship = Ship(changed(rules=(rule, *POLICY.correlate.rules)))
    ship.device("vsat-1", device_type="modem")
    for device in ("vsat-1", "other"):
        ship.take(*(enriched(n, device_id=device, domain="comms", series=f"{device}/{n}") for n in range(2)))
    told = {each.scope[0].device_id: each for each in ship.until(60).now.values()}
    assert (told["vsat-1"].incident_type, told["vsat-1"].severity) == ("comms_outage", Severity.LOW)
    assert told["vsat-1"].opened_at == at(1)
    assert told["other"].incident_type == "resource_pressure"
    ship.device("vsat-1", device_type="modem", removed=True)
    ship.take(enriched(100, device_id="vsat-1", domain="comms", series="third")).until(160)
    assert {each.incident_type for each in ship.now.values() if each.scope[0].device_id == "vsat-1"} == {
        "comms_outage",
        "resource_pressure",
    }
