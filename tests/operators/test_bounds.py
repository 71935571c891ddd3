"""What an incident says stays small, whatever comes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.correlate.bounds import cut, identity, short, weight
from operators.correlate.inhibition import MAX_PATHS
from operators.correlate.ship import ShipCorrelator
from operators.correlate.topology import MAX_DEPTH
from policy import Policy
from policy.correlate import InhibitPolicy, InhibitRule
from schemas.anomaly import AnomalyEnriched
from schemas.incident import Incident
from schemas.insight import EnrichmentRequest
from tests.support.ship import POLICY, Ship, changed, fires

REVISION = 256 * 1024
RECORD = 16 * 1024
FILLS = ("n", "\u8239", "\U0001f6a2", "\x01", '"', "\\", "\n", "\x7f")
KEYS = ("device_id", "service", "metric_name", "rule", "series", "fields.a", "fields.b", "fields.c")


def name_of(fill: str, *what: object) -> str:
    """A name of 256 characters, the longest there is."""
    return ("-".join(map(str, what)) + "-").ljust(256, fill)


def all_at_their_caps(fill: str) -> Ship:
    """One cause whose impact, evidence, places and timeline are all full, of names and texts as long as can be."""
    types = dict(POLICY.correlate.incident_types)
    cause = {"min_events": 1, "keys": KEYS, "bridge": ("fields.a", "fields.b", "fields.c"), "title": fill * 80}
    types["comms_outage"] = types["comms_outage"].model_copy(update=cause)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"title": fill * 80})
    policy: Policy = changed(incident_types=types, max_evidence=1000, max_timeline=1000)
    ship = Ship(policy)
    root = name_of(fill, "root")
    for n in range(60):
        ship.device(name_of(fill, "mail", n), name_of(fill, "hop", n, 0))
        for step in range(8):
            ship.device(name_of(fill, "hop", n, step), root if step == 7 else name_of(fill, "hop", n, step + 1))
    for n in range(150):
        ship.take(heavy(fill, n, root))
    for n in range(60):
        device = name_of(fill, "mail", n)
        ship.take(fires(2000 + n, device, "app_degradation", service=name_of(fill, "s"), msg=fill * 16_384))
    causes = [each for each in ship.now.values() if each.incident_type == "comms_outage" and each.status == "open"]
    for n in range(150):
        ship.command(3000 + n, "comment", causes[0].incident_id, by=name_of(fill, n), args={"text": fill * 5000 + "."})
    ship.command(3200, "assign", causes[0].incident_id, args={"assignee": fill * 5000 + "."})
    args = {"matchers": {"device_id": "*mail*"}, "duration_s": 600}
    ship.command(3300, "silence", by=name_of(fill, "by"), reason=(fill * 998 + "."), args=args)
    return ship


def heavy(fill: str, n: int, device: str) -> AnomalyEnriched:
    """One finding of the cause; all of them are bridged by an address."""
    series = "/".join(name_of(fill, part, n) for part in ("ship", "device", "service", "metric")) + fill * 16_384
    fields = {"a": fill * 255 + ".", "b": name_of(fill, n), "c": fill * 16_384 + "."}
    known = {"service": name_of(fill, "s", n), "metric_name": name_of(fill, "m", n), "rule": name_of(fill, "r", n)}
    return fires(n, device, "comms_outage", series=series, fields=fields, msg=fill * 16_384, **known)


@pytest.mark.parametrize("fill", FILLS)
def test_a_revision_and_a_record_stay_small_under_all_caps(fill: str) -> None:
    ship = all_at_their_caps(fill)
    sizes = [len(each.to_json()) for each in ship.incidents]
    assert 32 * 1024 < max(sizes) < REVISION
    assert max(len(each.to_json()) for each in ship.said if isinstance(each, EnrichmentRequest)) < REVISION
    assert 0 < max(len(each.to_json()) for each in ship.records) < RECORD
    assert {each.kind for each in ship.records} >= {"inhibited"}
    told = next(each for each in ship.now.values() if each.status == "open" and each.impact)
    assert told.evidence_dropped > 0
    assert told.timeline[0].event == "created"
    assert "or more other devices" not in told.title


def test_what_a_restart_takes_over_is_as_before() -> None:
    ship = all_at_their_caps("n")
    before = {each.incident_id: Incident.model_validate(each.model_dump()) for each in ship.now.values()}
    ship.restart()
    after = {state.id: state.incident for state in ship.correlator._desk.board}
    assert {name: each for name, each in after.items() if name in before} == {name: before[name] for name in after}


def test_a_snapshot_from_before_there_were_bounds_is_taken_over_within_them() -> None:
    ship = Ship().take(fires(0, "vsat-1", "comms_outage"))
    saved = ship.correlator.snapshot()
    (incident,) = saved["desk"]["incidents"]
    huge = [{"device_id": f"mail-{n}", "reason": "x" * (5_000_000 if n else 10)} for n in range(3)]
    incident["incident"]["impact"] = huge
    del incident["scope_cut"]
    ship.correlator = ShipCorrelator("aurora", POLICY)
    ship.correlator.restore(saved)
    ship.take(fires(60, "vsat-1", "comms_outage", series="other"))
    assert [each.device_id for each in ship.incidents[-1].impact] == ["mail-0"]


def test_a_chain_of_ten_thousand_devices_with_long_names_costs_next_to_nothing() -> None:
    ship, last = Ship(), 9_989
    for n in range(last + 1):
        ship.device(name_of("\u8239", n), *([name_of("\u8239", n + 1)] if n < last else []))
    ship.take(fires(0, name_of("\u8239", last), "comms_outage"))
    for n in range(40):
        ship.take(fires(5 + n, name_of("\u8239", n), "app_degradation"))
    near = name_of("\u8239", last - MAX_DEPTH)
    ship.take(fires(50, near, "app_degradation")).until(100)
    (cause,) = [each for each in ship.now.values() if each.incident_type == "comms_outage"]
    assert [each.device_id for each in cause.impact] == [near]
    assert f"… ({MAX_DEPTH + 1 - 4} between), " in cause.impact[0].reason
    assert max(len(each.to_json()) for each in ship.records) < RECORD
    assert max(len(each.to_json()) for each in ship.said) < 64 * 1024
    assert ship.correlator.take_counts()["depth_cap"] >= 40


def test_of_many_ways_to_the_cause_three_are_told() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"keys": ("domain",)})
    inhibit = InhibitPolicy(rules=(InhibitRule(cause=("comms_outage",), symptom=("app_degradation",)),))
    ship = Ship(changed(incident_types=types, inhibit=inhibit), **{f"app_{n}": ("vsat_1",) for n in range(8)})
    for n in range(8):
        ship.take(fires(n, f"app-{n}", "app_degradation"))
    ship.take(fires(20, "vsat-1", "comms_outage"))
    (record,) = ship.records
    assert record.reason.count("depends on") == MAX_PATHS
    assert record.reason.endswith("; and 5 more")


def test_a_title_says_when_there_is_more_than_it_lists() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["app_degradation"] = types["app_degradation"].model_copy(update={"keys": ("domain",)})
    ship = Ship(changed(incident_types=types))
    for n in range(50):
        ship.take(fires(n, f"app-{n}", "app_degradation"))
    assert next(iter(ship.until(400).now.values())).title == "Application degradation on app-0 and 49 more devices"
    ship.take(fires(500, "app-50", "app_degradation")).until(900)
    (last,) = ship.now.values()
    assert last.title == "Application degradation on app-0 and 49 or more other devices"
    assert next(iter(ship.restart().correlator._desk.board)).scope_cut


@given(st.text(max_size=600), st.integers(102, 3000))
def test_a_text_is_never_heavier_than_it_may_be(text: str, most: int) -> None:
    for made in (cut(text, most), identity(text, most)):
        assert len(json.dumps(made, ensure_ascii=False).encode()) - 2 <= weight(made) <= most
    assert (identity(text, most) == text) == (weight(text) <= most)
    assert len(short(text)) <= 64
