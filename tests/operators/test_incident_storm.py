"""Too many incidents at once are told as one, and the recovery needs nobody."""

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
