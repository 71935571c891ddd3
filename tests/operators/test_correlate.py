"""correlate as timelines: anomalies at seconds, and what people are told when."""

from typing import Any

import pytest

from operators.correlate.operator import CorrelateLogic, CorrelateSlot
from operators.correlate.ship import ShipCorrelator
from operators.observability import FlowMetrics
from policy import Policy, load_policy
from schemas.anomaly import AnomalyEnriched
from schemas.base import Severity
from schemas.event import Event
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentRequest
from schemas.ops import Device, OpsTick
from tests.support.make import at, enriched

POLICY_SET = load_policy(None)
POLICY = POLICY_SET.default


def policy(**correlate: Any) -> Policy:
    """The shipped policy with a resource_pressure that is easy to reckon with."""
    types = dict(POLICY.correlate.incident_types)
    changes = correlate.pop("resource_pressure", {})
    known = {"window_s": 600, "min_events": 1, "hold_s": 60, "max_age_s": 7200, "keys": ("device_id",)}
    types["resource_pressure"] = types["resource_pressure"].model_copy(update={**known, **changes})
    values = {
        "incident_types": types,
        "update_throttle_s": 10,
        "suppression_ttl_s": 600,
        "dedup_ttl_s": 900,
        **correlate,
    }
    return POLICY.model_copy(update={"correlate": POLICY.correlate.model_copy(update=values)})


class Timeline:
    """Feeds one ship and keeps what it says."""

    def __init__(self, **correlate: Any) -> None:
        self.policy = policy(**correlate)
        self.ship = ShipCorrelator("aurora", self.policy)
        self.said: list[Any] = []

    def take(self, *anomalies: AnomalyEnriched) -> "Timeline":
        for each in anomalies:
            self.said += [decision.message for decision in self.ship.take(each, each.observed_at)]
        return self

    def until(self, seconds: float) -> "Timeline":
        self.said += [decision.message for decision in self.ship.advance(at(seconds))]
        return self

    @property
    def incidents(self) -> list[IncidentPublished]:
        return [message for message in self.said if isinstance(message, IncidentPublished)]

    @property
    def events(self) -> list[tuple[str, float]]:
        return [(each.event, (each.updated_at - at(0)).total_seconds()) for each in self.incidents]


def cleared(seconds: float, **fields: Any) -> AnomalyEnriched:
    return enriched(seconds, state="cleared", score=0.0, **fields)


def other(seconds: float, n: int, **fields: Any) -> AnomalyEnriched:
    return enriched(seconds, series=f"aurora/srv-1/node/m{n}", **fields)


def test_an_incident_opens_at_once_and_leads_back_to_its_evidence() -> None:
    first = enriched(5)
    timeline = Timeline().take(first)
    (incident,) = timeline.incidents
    assert (incident.event, incident.status, incident.revision, incident.severity) == ("created", "open", 1, "high")
    assert incident.opened_at == at(5)
    assert incident.tracking_id == first.tracking_id
    assert [(each.ref, each.tracking_id) for each in incident.evidence] == [(first.anomaly_id, first.tracking_id)]
    assert incident.timeline[0].reason == first.msg
    (request,) = [message for message in timeline.said if isinstance(message, EnrichmentRequest)]
    assert (request.incident_id, request.revision) == (incident.incident_id, 1)


def test_updates_are_throttled_and_the_last_change_is_told_at_the_end_of_the_throttle() -> None:
    timeline = Timeline().take(enriched(0), *(other(n, n) for n in range(1, 6))).until(30)
    assert timeline.events == [("created", 0.0), ("updated", 10.0)]
    assert len(timeline.incidents[-1].evidence) == 6


def test_an_escalation_is_told_at_once() -> None:
    timeline = Timeline().take(enriched(0, Severity.LOW), other(1, 1, severity=Severity.CRITICAL))
    assert timeline.events == [("created", 0.0), ("escalated", 1.0)]
    assert timeline.incidents[-1].severity == "critical"


def test_it_resolves_when_every_series_has_cleared_and_the_hold_has_passed() -> None:
    timeline = Timeline().take(enriched(0), other(1, 1), cleared(20)).until(200)
    assert timeline.incidents[-1].status == "open"
    timeline.take(cleared(210, series="aurora/srv-1/node/m1")).until(269)
    assert timeline.incidents[-1].status == "open"
    timeline.until(270)
    assert timeline.events[-1] == ("resolved", 270.0)
    assert timeline.incidents[-1].resolved_at == at(270)


def test_a_deadline_is_served_in_its_own_time_however_late_the_tick() -> None:
    late = Timeline().take(enriched(0), cleared(20)).until(500)
    often = Timeline().take(enriched(0), cleared(20))
    for second in range(21, 501):
        often.until(second)
    assert late.said == often.said


def test_firing_within_the_hold_keeps_it_open() -> None:
    timeline = Timeline().take(enriched(0), cleared(20), enriched(50)).until(500)
    assert [event for event, _ in timeline.events if event == "resolved"] == []


def test_the_same_key_within_suppression_ttl_is_the_same_incident_and_a_record_says_so() -> None:
    timeline = Timeline().take(enriched(0), cleared(20)).until(80).take(enriched(600))
    (record,) = [message for message in timeline.said if isinstance(message, SuppressionRecord)]
    assert (record.kind, record.until) == ("suppressed", at(680))
    created, resolved, reopened = timeline.incidents
    assert (resolved.event, reopened.event) == ("resolved", "reopened")
    assert reopened.incident_id == created.incident_id
    assert (reopened.status, reopened.revision, reopened.resolved_at) == ("open", resolved.revision + 1, None)


def test_after_suppression_ttl_it_is_another_incident_that_names_the_one_before() -> None:
    timeline = Timeline().take(enriched(0), cleared(20)).until(80)
    first = timeline.incidents[0].incident_id
    assert timeline.incidents[0].successor_of is None
    after = Timeline()
    after.ship.restore(timeline.take(enriched(670, device_id="srv-2")).until(681).ship.snapshot())
    after.take(enriched(682), cleared(690)).until(750).take(enriched(1400))
    second, third = (each for each in after.incidents if each.event == "created")
    assert len({first, second.incident_id, third.incident_id}) == 3
    assert (second.successor_of, third.successor_of) == (first, second.incident_id)


def test_the_one_before_is_remembered_for_a_week_from_its_end() -> None:
    week = 7 * 86_400.0
    for second, successor_of_first in ((week + 79, True), (week + 80, False)):
        timeline = Timeline().take(enriched(0), cleared(20)).until(80).until(second).take(enriched(second))
        expected = timeline.incidents[0].incident_id if successor_of_first else None
        assert timeline.incidents[-1].successor_of == expected


def test_those_before_are_bounded_and_what_gives_way_is_counted() -> None:
    timeline = Timeline(max_open_incidents=3)
    for n in range(5):
        timeline.take(enriched(1000.0 * n, device_id=f"srv-{n}"))
        timeline.take(cleared(1000.0 * n + 1, device_id=f"srv-{n}")).until(1000.0 * n + 900)
    assert timeline.ship.take_counts() == {"former_cap": 2}
    timeline.take(enriched(6000, device_id="srv-0"), enriched(6001, device_id="srv-4"))
    first, last = timeline.incidents[-2:]
    assert (first.successor_of, last.successor_of is None) == (None, False)


def test_min_events_within_the_window_of_event_time() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3}).take(enriched(0), other(10, 1))
    assert timeline.incidents == []
    timeline.take(other(20, 2))
    assert timeline.events == [("created", 20.0)]
    assert timeline.incidents[0].tracking_id == enriched(0).tracking_id
    apart = Timeline(resource_pressure={"min_events": 3}).take(enriched(0), other(10, 1), other(611, 2))
    assert apart.incidents == []


def test_what_has_cleared_does_not_count_toward_min_events() -> None:
    timeline = Timeline(resource_pressure={"min_events": 2}).take(enriched(0), cleared(5), other(10, 1))
    assert timeline.incidents == []


def test_a_report_of_several_lines_counts_as_so_many() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3}).take(enriched(0, count=3))
    assert timeline.incidents[0].anomaly_count == 3


def test_the_same_finding_again_is_a_duplicate_with_a_record_that_says_why() -> None:
    timeline = Timeline().take(enriched(0), enriched(5), enriched(901)).until(920)
    records = [message for message in timeline.said if isinstance(message, SuppressionRecord)]
    assert [(record.kind, record.ts, record.until) for record in records] == [("duplicate", at(5), at(900))]
    last = timeline.incidents[-1]
    assert (last.anomaly_count, last.duplicate_count, len(last.evidence)) == (3, 1, 2)


def test_unrelated_devices_do_not_merge() -> None:
    timeline = Timeline().take(enriched(0), enriched(1, device_id="srv-2"))
    assert len({each.incident_id for each in timeline.incidents}) == 2


def test_a_key_that_is_missing_on_both_equals_nothing() -> None:
    timeline = Timeline(resource_pressure={"keys": ("fields.port",)}).take(enriched(0), other(1, 1))
    assert len({each.incident_id for each in timeline.incidents}) == 2


def test_an_incident_past_its_age_takes_nothing_more_and_the_next_anomaly_opens_a_successor() -> None:
    timeline = Timeline().take(enriched(0)).until(7300)
    assert timeline.events == [("created", 0.0)]
    timeline.take(other(7300, 1))
    old, successor = timeline.incidents[-2:]
    assert (old.event, old.status, len(old.evidence)) == ("resolved", "resolved", 1)
    assert (successor.event, successor.successor_of, successor.opened_at) == ("created", old.incident_id, at(7300))
    assert successor.incident_id in old.timeline[-1].reason
    timeline.take(cleared(7400, series="aurora/srv-1/node/m1")).until(7500)
    assert timeline.incidents[-1].event == "created"
    timeline.take(cleared(7600)).until(7700)
    assert (timeline.incidents[-1].incident_id, timeline.incidents[-1].event) == (successor.incident_id, "resolved")


def test_state_is_bounded() -> None:
    timeline = Timeline(max_evidence=5, max_timeline=4, max_open_incidents=3)
    for n in range(20):
        timeline.take(other(n, n, severity=list(Severity)[n % 4]))
    assert len(timeline.incidents[-1].evidence) == 5
    assert timeline.until(60).incidents[-1].evidence_dropped == 15
    assert len(timeline.incidents[-1].timeline) <= 4
    for n in range(5):
        timeline.take(enriched(100 + n, device_id=f"other-{n}"))
    assert timeline.ship.counts["incident_cap"] == 3


STORY = [
    enriched(0),
    other(3, 1),
    enriched(4, severity=Severity.CRITICAL),
    enriched(5, device_id="srv-2"),
    cleared(20),
    cleared(30, series="aurora/srv-1/node/m1"),
    other(200, 2),
    cleared(210, series="aurora/srv-1/node/m2"),
    enriched(1500),
    enriched(9000, device_id="srv-3"),
]


@pytest.mark.parametrize("cut", range(len(STORY) + 1))
def test_resuming_equals_never_stopping(cut: int) -> None:
    whole = Timeline().take(*STORY).until(20_000)
    first, second = Timeline().take(*STORY[:cut]), Timeline()
    saved = first.ship.snapshot()
    before = list(first.said)
    first.take(enriched(50_000))
    second.ship.restore(saved)
    second.take(*STORY[cut:]).until(20_000)
    assert before + second.said == whole.said
    assert second.ship.snapshot() == whole.ship.snapshot()


def test_a_type_that_policy_no_longer_has_still_resolves() -> None:
    timeline = Timeline().take(enriched(0))
    saved = timeline.ship.snapshot()
    saved["desk"]["incidents"] = [
        {**state, "incident": {**state["incident"], "incident_type": "dropped"}} for state in saved["desk"]["incidents"]
    ]
    after = Timeline()
    after.ship.restore(saved)
    after.take(cleared(20)).until(5000)
    assert after.incidents[-1].event == "resolved"


def test_an_anomaly_of_an_unknown_type_is_correlated_by_the_rules() -> None:
    timeline = Timeline().take(enriched(0, incident_type="nonsense"))
    assert timeline.incidents[0].incident_type == "resource_pressure"


def test_what_clears_resolves_every_incident_it_fired_in_whatever_its_key_would_be_now() -> None:
    by_user = Timeline(resource_pressure={"keys": ("device_id", "fields.user")})
    by_user.take(enriched(0, fields={"user": "eva"}), enriched(1, fields={"user": "bob"}))
    by_user.take(cleared(20, fields={"user": "bob"})).until(500)
    assert [each.event for each in by_user.incidents] == ["created", "created", "resolved", "resolved"]
    moved = Timeline().take(enriched(0, domain="comms"), cleared(20, domain="net", incident_type=None)).until(500)
    assert moved.incidents[-1].event == "resolved"


def test_it_is_resolved_though_policy_changed_its_keys_meanwhile() -> None:
    before = Timeline().take(enriched(0))
    after = Timeline(resource_pressure={"keys": ("service",)})
    after.ship.restore(before.ship.snapshot())
    after.take(cleared(20)).until(500)
    assert after.incidents[-1].event == "resolved"


def test_an_incident_whose_clear_was_lost_is_closed_in_the_end() -> None:
    timeline = Timeline(forget_s=86_400).take(enriched(0)).until(86_399)
    assert timeline.incidents[-1].status == "open"
    timeline.until(90_000)
    assert (timeline.incidents[-1].event, timeline.incidents[-1].updated_at) == ("resolved", at(86_400))


def test_one_line_delivered_three_times_is_one_finding() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3}).take(enriched(0), enriched(0), enriched(0))
    assert timeline.incidents == []


def test_a_line_once_said_counts_though_its_pattern_has_fallen_quiet() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3, "window_s": 1200})
    for n in range(3):
        second = 400.0 * n
        fields: Any = {"anomaly_type": "log_pattern", "series": "aurora/srv-1/sshd/log:x", "detector": "pattern"}
        timeline.take(enriched(second, **fields), cleared(second + 300, **fields))
    assert timeline.events[0] == ("created", 800.0)


def test_what_was_refused_at_the_cap_is_raised_when_there_is_room() -> None:
    timeline = Timeline(max_open_incidents=1).take(enriched(0), enriched(1, device_id="srv-2"))
    assert len(timeline.incidents) == 1
    timeline.take(cleared(10)).until(100)
    timeline.take(enriched(101, device_id="srv-2", detector="zscore"))
    assert {scope.device_id for each in timeline.incidents for scope in each.scope} == {"srv-1", "srv-2"}


def test_a_successor_is_as_bad_as_what_still_fires() -> None:
    timeline = Timeline().take(enriched(0, Severity.CRITICAL)).until(7300)
    timeline.take(other(7300, 1, severity=Severity.LOW))
    assert timeline.incidents[-1].severity == "critical"


def test_a_situation_that_lasts_says_so_ever_less_often() -> None:
    timeline = Timeline()
    for n in range(2000):
        timeline.take(enriched(10.0 * n, series=f"aurora/srv-1/node/m{n % 50}"))
    assert 20 < len(timeline.incidents) < 400


def test_a_ship_without_incidents_is_forgotten() -> None:
    slot = CorrelateSlot(POLICY_SET)
    for n in range(50):
        body = enriched(float(n), ship_id=f"ship-{n}", state="cleared")
        list(slot.process(Event((n, 0), at(n), body)))
    list(slot.process(Event((99, -1), at(99), OpsTick(ship_id="aurora"))))
    assert slot.ships == {}


def test_an_incident_does_not_wait_for_what_had_fallen_quiet_before_it_opened() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3, "window_s": 1200})
    ssh: dict[str, Any] = {"anomaly_type": "log_pattern", "series": "aurora/srv-1/sshd/log:x", "detector": "pattern"}
    ftp: dict[str, Any] = {"anomaly_type": "log_pattern", "series": "aurora/srv-1/ftpd/log:x", "detector": "pattern"}
    timeline.take(_log(0, ssh), _log(10, ssh), cleared(310, **ssh))
    resumed = Timeline(resource_pressure={"min_events": 3, "window_s": 1200})
    resumed.ship.restore(timeline.ship.snapshot())
    for each in (timeline, resumed):
        each.take(_log(400, ftp), cleared(700, **ftp)).until(1000)
        assert [event for event, _ in each.events if event != "updated"] == ["created", "resolved"]
        assert each.events[-1] == ("resolved", 760.0)


def _log(seconds: float, fields: dict[str, Any]) -> AnomalyEnriched:
    return enriched(seconds, **fields)


def test_what_waits_is_bounded_and_what_gives_way_is_counted() -> None:
    timeline = Timeline(resource_pressure={"min_events": 3}, max_open_incidents=3)
    for n in range(5):
        timeline.take(enriched(n, device_id=f"srv-{n}"))
    assert timeline.ship.take_counts() == {"pending_cap": 2}
    timeline.take(*(enriched(10 + n, device_id="srv-4", detector=f"x{n}") for n in range(2)))
    assert [each.anomaly_count for each in timeline.incidents] == [3]


def test_resolved_incidents_are_bounded_too() -> None:
    timeline = Timeline(max_open_incidents=3, suppression_ttl_s=86_400)
    for n in range(6):
        timeline.take(enriched(200.0 * n, device_id=f"srv-{n}"))
        timeline.take(cleared(200.0 * n + 1, device_id=f"srv-{n}")).until(200.0 * n + 100)
    assert timeline.ship.take_counts() == {"resolved_cap": 3}
    timeline.take(enriched(2000, device_id="srv-0"), enriched(2001, device_id="srv-5"))
    assert [each.event for each in timeline.incidents[-2:]] == ["created", "reopened"]


def test_what_the_ships_drop_is_in_the_metrics() -> None:
    metrics = FlowMetrics("test")
    logic = CorrelateLogic(CorrelateSlot(POLICY_SET), metrics)
    too_many = tuple(f"d{n}" for n in range(300))
    logic.on_batch([Event((1, 0), at(0), Device(ship_id="aurora", device_id="a", depends_on=too_many))])
    logic.on_batch([Event((2, -1), at(1), OpsTick(ship_id="aurora"))])
    assert metrics.dropped.labels("device_too_big")._value.get() == 1


def test_several_ships_of_a_slot_do_not_see_each_other_and_a_tick_is_for_all() -> None:
    slot = CorrelateSlot(POLICY_SET)
    said: list[Any] = []
    for n, ship_id in enumerate(("aurora", "borealis")):
        for state in ("firing", "cleared"):
            body = enriched(n, ship_id=ship_id, state=state)
            said += [each.message for each in slot.process(Event((n, 0), at(n), body))]
    said += [each.message for each in slot.process(Event((9, -1), at(1000), OpsTick(ship_id="cassiopeia")))]
    told = [(each.ship_id, each.event) for each in said if isinstance(each, IncidentPublished)]
    assert told == [("aurora", "created"), ("borealis", "created"), ("aurora", "resolved"), ("borealis", "resolved")]
    assert sorted(slot.ships) == ["aurora", "borealis"]


def test_what_is_due_comes_before_the_inventory_that_arrives_later() -> None:
    """The symptom surfaces at its time, though the entry that arrives after it would have kept it held back."""
    slot = CorrelateSlot(POLICY_SET)
    story: list[Any] = [
        (0, Device(ship_id="aurora", device_id="mail", depends_on=("vsat-1",))),
        (0, enriched(0, device_id="vsat-1", incident_type="comms_outage")),
        (1, enriched(1, device_id="mail", incident_type="app_degradation")),
        (2, enriched(2, device_id="vsat-1", incident_type="comms_outage", state="cleared")),
        (100, enriched(100, device_id="vsat-2", incident_type="comms_outage")),
        (900, Device(ship_id="aurora", device_id="mail", depends_on=("vsat-2",))),
    ]
    said = [each.message for n, (s, body) in enumerate(story) for each in slot.process(Event((n, 0), at(s), body))]
    incidents = [each for each in said if isinstance(each, IncidentPublished)]
    assert [each.updated_at for each in incidents if each.event == "surfaced"] == [at(122 + 360)]


def test_stale_deadlines_do_not_pile_up() -> None:
    timeline = Timeline()
    for n in range(5000):
        timeline.take(enriched(20.0 * n, device_id=f"srv-{n % 3}", series=f"m{n % 9}"))
    assert len(timeline.ship._deadlines._heap) < 300
