"""Matchers: what they hold for, what they refuse, and that nothing unmentioned is matched."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.correlate.matchers import (
    FIELDS,
    Matchers,
    Scope,
    Subject,
    literal_part,
    of_anomaly,
    of_incident,
    parse_matchers,
)
from schemas.incident import Incident
from schemas.incident import Scope as IncidentScope
from tests.support.make import at, enriched


def subject(*scopes: Scope, **fields: Any) -> Subject:
    known: dict[str, Any] = {
        "ship_id": "aurora",
        "incident_type": "link_degradation",
        "severity": "high",
        "domain": "comms",
        "title": "Link degradation: vsat-1",
        "scopes": scopes or (Scope("vsat-1", "modem", "snr_db", "rf_snr_low"),),
    }
    return Subject(**{**known, **fields})


@pytest.mark.parametrize(
    ("matchers", "holds"),
    [
        ({"device_id": "vsat-1"}, True),
        ({"device_id": "vsat-*"}, True),
        ({"device_id": "vsat-?"}, True),
        ({"device_id": "vsat-[12]"}, True),
        ({"device_id": "VSAT-1"}, False),
        ({"device_id": "vsat"}, False),
        ({"device_id": "vsat-1", "service": "modem"}, True),
        ({"device_id": "vsat-1", "service": "antenna"}, False),
        ({"ship_id": "aurora"}, True),
        ({"ship_id": "borealis"}, False),
        ({"incident_type": "link_degradation", "severity": "high", "domain": "comms"}, True),
        ({"severity": "low"}, False),
        ({"metric_name": "snr*", "rule": "rf_snr_low"}, True),
        ({"title": "Link degradation: *"}, True),
        ({"title": "Link degradation: vsat-1\n*"}, False),
    ],
)
def test_all_must_hold(matchers: dict[str, str], holds: bool) -> None:
    assert Matchers(matchers).hold(subject()) is holds


def test_every_field_can_be_matched() -> None:
    own = subject()
    for field in FIELDS:
        value = getattr(own.scopes[0] if field in Scope._fields else own, field)
        assert Matchers({field: value}).hold(own)
        assert not Matchers({field: f"not {value}"}).hold(own)


def test_a_silence_of_one_device_does_not_mute_what_touches_another() -> None:
    both = subject(Scope("vsat-1", "modem"), Scope("gw-1", "routing"))
    assert not Matchers({"device_id": "vsat-1"}).hold(both)
    assert not Matchers({"device_id": "gw-1"}).hold(both)
    assert Matchers({"device_id": "[gv]*-1"}).hold(both)
    assert not Matchers({"device_id": "[gv]*-1", "service": "modem"}).hold(both)
    assert Matchers({"incident_type": "link_degradation"}).hold(both)


def test_a_text_with_the_signs_of_a_glob_matches_itself() -> None:
    assert Matchers({"device_id": "fan[1]"}).hold(subject(Scope("fan[1]", "s")))
    assert Matchers({"device_id": "fan[1]"}).hold(subject(Scope("fan1", "s")))
    assert not Matchers({"device_id": "fan[1]"}).hold(subject(Scope("fan2", "s")))


def test_what_is_not_known_is_matched_by_a_star_only() -> None:
    unknown = subject(Scope("vsat-1", "modem"))
    assert not Matchers({"metric_name": "snr_db"}).hold(unknown)
    assert not Matchers({"metric_name": "?*"}).hold(unknown)
    assert Matchers({"device_id": "vsat-1", "metric_name": "*"}).hold(unknown)


def test_what_touches_more_than_is_listed_is_not_matched_by_device() -> None:
    cut_short = subject(complete=False)
    assert not Matchers({"device_id": "vsat-1"}).hold(cut_short)
    assert not Matchers({"device_id": "*"}).hold(cut_short)
    assert Matchers({"domain": "comms"}).hold(cut_short)
    assert not Matchers({"device_id": "*"}).hold(subject(scopes=()))


def test_the_subject_of_an_anomaly_and_of_an_incident() -> None:
    anomaly = enriched(0, device_id="srv-1")
    own = of_anomaly(anomaly, "resource_pressure", "Resource pressure")
    assert own.scopes == (Scope("srv-1", anomaly.service, anomaly.metric_name, anomaly.rule),)
    assert (own.ship_id, own.severity, own.domain) == (anomaly.ship_id, anomaly.severity, anomaly.domain)
    incident = Incident(
        tracking_id=anomaly.tracking_id,
        ship_id="aurora",
        incident_id="i",
        revision=1,
        incident_type="resource_pressure",
        severity=anomaly.severity,
        status="open",
        domain="system",
        title="Resource pressure",
        corr_keys={},
        suppress_key="k",
        fingerprint="f",
        scope=(IncidentScope(device_id="srv-1", service="node"), IncidentScope(device_id="srv-2", service="node")),
        opened_at=at(0),
        updated_at=at(0),
        anomaly_count=1,
        evidence=(),
        timeline=(),
    )
    assert of_incident(incident).scopes == (Scope("srv-1", "node"), Scope("srv-2", "node"))
    assert of_incident(incident, own.scopes).scopes == own.scopes
    assert not of_incident(incident, complete=False).complete
    assert Matchers({"severity": str(anomaly.severity), "device_id": "srv-*"}).hold(of_incident(incident))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "empty; name at least one of ship_id, incident_type"),
        (None, "expected a mapping"),
        (["device_id"], "expected a mapping"),
        ({"device": "gw-1"}, "device is not known; there are ship_id"),
        ({"device_id": 7}, "device_id: expected a valid string"),
        ({"device_id": ""}, "device_id: String should have at least 1 character"),
        ({"device_id": "x" * 257}, "device_id: String should have at most 256 characters"),
        ({3: "x"}, "3"),
        ({"device_id": "*"}, "would silence the whole ship"),
        ({"device_id": "**", "service": "?*"}, "would silence the whole ship"),
        ({"ship_id": "aurora"}, "would silence the whole ship"),
        ({"ship_id": "aurora", "title": "*"}, "would silence the whole ship"),
        ({"device_id": "*-*"}, "would silence the whole ship"),
        ({"device_id": "*a*", "service": "[a-z]*"}, "would silence the whole ship"),
        ({"ship_id": "aurora", "device_id": "*_?*"}, "would silence the whole ship"),
        ({"title": "* on *"}, "would silence the whole ship"),
        ({"severity": "[chlm]*"}, "would silence the whole ship"),
        ({"domain": "[acns]*"}, "would silence the whole ship"),
        ({"incident_type": "[a-z]*"}, "would silence the whole ship"),
    ],
)
def test_bad_matchers_are_refused_with_what_to_do(given: Any, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_matchers(given)
    assert says in str(caught.value)


def test_good_matchers_keep_what_was_given() -> None:
    given = {"service": "modem", "device_id": "vsat-*", "ship_id": "aurora"}
    matchers = parse_matchers(given)
    assert matchers.given == given
    assert str(matchers) == "ship_id=aurora, device_id=vsat-*, service=modem"
    assert matchers == Matchers(dict(reversed(given.items())))
    assert parse_matchers({"severity": "low"}).given == {"severity": "low"}
    assert parse_matchers({"severity": "[lm]*"}).given == {"severity": "[lm]*"}


ALPHABET = "ab]*?[-"


@given(st.text(ALPHABET, min_size=1, max_size=6), st.text("ab]-", max_size=6))
def test_what_matches_has_the_literal_part(glob: str, text: str) -> None:
    part = literal_part(glob)
    if part is None or not Matchers({"title": glob}).hold(subject(title=text)):
        return
    size, literal = part
    assert (text if size == 0 else text[:size] if size > 0 else text[size:]) == literal


@given(st.text(ALPHABET, min_size=1, max_size=6), st.text("ab]-", min_size=1, max_size=6))
def test_a_glob_is_a_shell_pattern(glob: str, text: str) -> None:
    assert Matchers({"title": glob}).hold(subject(title=text)) == (glob == text or fnmatchcase(text, glob))
