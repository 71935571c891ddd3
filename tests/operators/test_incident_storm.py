"""Too many incidents at once are told as one, and the recovery needs nobody."""

from schemas.base import Severity
from tests.support.make import at
from tests.support.ship import POLICY, Ship, changed, clears, fires


def ship() -> Ship:
    storm = POLICY.correlate.storm.model_copy(update={"opened": 5, "within_s": 60, "calm_s": 120})
    return Ship(changed(storm=storm))


def test_a_storm_is_one_incident_with_its_members() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(8))).until(40)
    (storm,) = said.by_status("open")
    assert storm.incident_type == "incident_storm"
    assert len(said.by_status("suppressed")) == 8
    assert {each.device_id for each in storm.impact} == {f"d{i}" for i in range(8)}
    assert storm.anomaly_count == 8
    assert {each.kind for each in said.records} == {"storm"}


def test_when_it_calms_down_what_still_fires_is_told() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
    said.restart().take(*(clears(20, f"d{i}", "equipment_fault") for i in range(5))).until(200)
    (left,) = said.by_status("open")
    assert left.scope[0].device_id == "d5"
    storm = next(each for each in said.now.values() if each.incident_type == "incident_storm")
    assert storm.status == "resolved"


def test_slow_incidents_make_no_storm() -> None:
    said = ship().take(*(fires(20 * i, f"d{i}", "equipment_fault") for i in range(8))).until(200)
    assert len(said.by_status("open")) == 8


def test_while_many_still_fire_the_storm_goes_on() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(8))).until(1000)
    assert [each.incident_type for each in said.by_status("open")] == ["incident_storm"]


def test_after_a_storm_the_next_one_is_another() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
    said.take(*(clears(20, f"d{i}", "equipment_fault") for i in range(6))).until(4000)
    said.take(*(fires(5000 + i, f"e{i}", "equipment_fault") for i in range(6))).until(5050)
    storms = [each for each in said.now.values() if each.incident_type == "incident_storm"]
    assert sorted(each.status for each in storms) == ["open", "resolved"]


def test_a_storm_resolved_by_hand_takes_in_nothing_more() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
    (storm,) = said.by_status("open")
    said.command(10, "resolve", storm.incident_id)
    said.restart().take(fires(20, "late", "equipment_fault"))
    assert [each.scope[0].device_id for each in said.by_status("open")] == ["late"]
    said.take(*(clears(30, f"d{i}", "equipment_fault") for i in range(4))).until(369)
    assert len(said.by_status("suppressed")) == 2
    said.until(5000)
    assert said.events(storm.incident_id).count("resolved") == 1
    assert {each.scope[0].device_id for each in said.by_status("open")} == {"d4", "d5", "late"}


def test_storms_that_begin_with_the_same_incident_are_two() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
    said.take(*(clears(20, f"d{i}", "equipment_fault") for i in range(6))).until(600)
    said.take(*(fires(700 + i, f"d{i}", "equipment_fault") for i in range(6))).until(750)
    storms = [each for each in said.now.values() if each.incident_type == "incident_storm"]
    assert sorted(each.status for each in storms) == ["open", "resolved"]


def test_one_incident_that_comes_and_goes_is_no_storm() -> None:
    types = {
        **POLICY.correlate.incident_types,
        "equipment_fault": POLICY.correlate.incident_types["equipment_fault"].model_copy(update={"hold_s": 0}),
    }
    said = Ship(changed(ship().policy, incident_types=types, suppression_ttl_s=5))
    for second in (0, *range(5, 157, 8)):
        said.take(fires(second, "d", "equipment_fault"), clears(second + 1, "d", "equipment_fault"))
    assert [each.incident_type for each in said.until(200).now.values()] == ["equipment_fault"]
    assert sum(each.event == "reopened" for each in said.incidents) == 19


def test_a_member_that_gets_worse_makes_the_storm_worse_at_once() -> None:
    said = ship().take(*(fires(i, f"d{i}", "equipment_fault", severity=Severity.LOW) for i in range(6)))
    said.take(fires(20, "d2", "equipment_fault", series="second", severity=Severity.CRITICAL))
    (storm,) = said.by_status("open")
    assert (said.events(storm.incident_id)[-1], storm.severity) == ("escalated", "critical")
    assert storm.updated_at == at(20)


def test_what_a_cause_lets_go_during_a_storm_is_its_member() -> None:
    said = ship()
    said.device("mail", "vsat-1")
    said.take(fires(0, "vsat-1", "comms_outage"), fires(1, "mail", "app_degradation"))
    mail = list(said.now)[1]
    said.command(2, "resolve", next(iter(said.now)))
    for n in range(40):
        said.take(fires(3 + 10 * n, f"d{n}", "equipment_fault"))
    assert said.now[mail].status == "suppressed"
    storm = next(each for each in said.now.values() if each.incident_type == "incident_storm")
    assert "mail" in {each.device_id for each in said.until(450).now[storm.incident_id].impact}


def test_when_the_stormy_hour_is_over_a_silenced_storm_is_told_like_any_other() -> None:
    said = ship()
    silence = {"matchers": {"incident_type": "incident_storm"}, "duration_s": 60}
    said.take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
    said.command(10, "silence", args=silence, reason="known")
    assert said.by_status("open") == []
    assert [each.incident_type for each in said.until(71).by_status("open")] == ["incident_storm"]


def test_a_calm_storm_ends_in_its_time_also_after_a_restart() -> None:
    told = []
    for restart_at in (0, 500, 1000):
        said = ship().take(*(fires(i, f"d{i}", "equipment_fault") for i in range(6)))
        for second in (500, 1000, 1010, 3000):
            said.until(second)
            if second == restart_at:
                said.restart()
            if second == 1010:
                said.take(*(clears(1010, f"d{i}", "equipment_fault") for i in range(4)))
        storm = next(each for each in said.now.values() if each.incident_type == "incident_storm")
        assert storm.status == "resolved"
        told.append(said.said)
    assert told[0] == told[1] == told[2]
