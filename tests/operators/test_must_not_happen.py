"""Complaints about well-known systems that must not be true of ours, each as a timeline."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from operators.correlate.operator import CorrelateLogic, CorrelateSlot
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.anomaly import AnomalyEnriched
from schemas.event import Event
from schemas.incident import IncidentPublished
from schemas.ops import Device, OpsTick
from tests.support.make import at
from tests.support.ship import POLICY, Ship, changed, clears, fires

HOUR = 3600.0


def of_type(name: str, **values: Any) -> dict[str, Any]:
    """The shipped incident types with other values in one."""
    types = dict(POLICY.correlate.incident_types)
    types[name] = types[name].model_copy(update=values)
    return {"incident_types": types}


def series(n: int) -> dict[str, Any]:
    return {"series": f"aurora/srv-1/node/m{n}"}


class TestAnIncidentThatGrowsForEverAndSwallowsANewStorm:
    def test_past_its_age_it_takes_nothing_more(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", max_age_s=2 * HOUR)))
        for n in range(200):
            ship.take(fires(120.0 * n, "srv-1", "resource_pressure", **series(n % 40)))
        chain = list(ship.now.values())
        assert len(chain) == 4
        assert [each.successor_of for each in chain[1:]] == [each.incident_id for each in chain[:-1]]
        for each in chain[:-1]:
            assert each.resolved_at is not None
            assert each.resolved_at - each.opened_at == timedelta(hours=2)
        assert sum(each.anomaly_count for each in ship.until(30_000).now.values()) == 200

    def test_a_new_storm_on_an_old_incidents_key_is_an_incident_of_its_own(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", max_age_s=HOUR)))
        ship.take(fires(0, "srv-1", "resource_pressure", **series(0))).until(2 * HOUR)
        ship.take(*(fires(2 * HOUR + n, "srv-1", "resource_pressure", **series(n)) for n in range(1, 40)))
        old, new = ship.until(2 * HOUR + 60).now.values()
        assert (old.status, old.anomaly_count) == ("resolved", 1)
        assert (new.status, new.anomaly_count) == ("open", 39)

    def test_a_storm_that_goes_on_firing_takes_in_nothing_that_comes_later(self) -> None:
        storm = POLICY.correlate.storm.model_copy(update={"opened": 5, "within_s": 60, "calm_s": 120})
        ship = Ship(changed(storm=storm)).take(*(fires(n, f"d{n}", "equipment_fault") for n in range(8)))
        ship.restart().take(fires(500, "other", "comms_outage"))
        told = ship.by_status("open")
        assert {each.incident_type for each in told} == {"incident_storm", "comms_outage"}
        ship.take(*(fires(1000 + n, f"e{n}", "equipment_fault") for n in range(8))).until(1030)
        storms = [each for each in ship.by_status("open") if each.incident_type == "incident_storm"]
        assert [each.anomaly_count for each in storms] == [8, 8]

    def test_a_storm_past_its_age_takes_in_nothing_more_though_it_never_calms_down(self) -> None:
        storm = POLICY.correlate.storm.model_copy(update={"opened": 5, "within_s": 60, "calm_s": 120})
        policy = changed(storm=storm, max_open_incidents=10_000, **of_type("incident_storm", max_age_s=HOUR))
        ship = Ship(policy).take(*(fires(10.0 * n, f"d{n}", "equipment_fault") for n in range(1000)))
        storms = [each for each in ship.until(10_000).now.values() if each.incident_type == "incident_storm"]
        assert len(storms) == 3
        assert max(each.anomaly_count for each in storms) <= 400


class TestClearedAnomaliesCountedTowardTheThreshold:
    def test_what_has_cleared_no_longer_counts(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", min_events=3)))
        for n in range(10):
            ship.take(fires(20.0 * n, "srv-1", "resource_pressure", **series(n)))
            ship.take(clears(20.0 * n + 10, "srv-1", "resource_pressure", **series(n)))
        assert ship.incidents == []
        ship.take(*(fires(300.0 + n, "srv-1", "resource_pressure", **series(n)) for n in range(3)))
        assert [each.anomaly_count for each in ship.incidents] == [3]

    def test_a_clearing_itself_counts_for_nothing(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", min_events=2)))
        ship.take(*(clears(n, "srv-1", "resource_pressure", **series(n)) for n in range(5)))
        ship.take(fires(9, "srv-1", "resource_pressure"))
        assert ship.incidents == []


class TestAResolvedIncidentAbsorbingNewAnomaliesSilently:
    @pytest.mark.parametrize("by_hand", [False, True])
    def test_its_key_reopens_it_aloud(self, by_hand: bool) -> None:
        ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
        (incident_id,) = ship.now
        if by_hand:
            ship.command(10, "resolve", incident_id)
        else:
            ship.take(clears(10, "srv-1", "resource_pressure")).until(200)
        ship.restart().take(fires(300, "srv-1", "resource_pressure", **series(1)))
        assert ship.events(incident_id) == ["created", "resolved", "reopened"]
        assert ship.now[incident_id].resolved_at is None
        assert [each.kind for each in ship.records] == ["suppressed"]

    def test_it_takes_min_events_again(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", min_events=2)))
        ship.take(*(fires(n, "srv-1", "resource_pressure", **series(n)) for n in range(2)))
        ship.take(*(clears(10, "srv-1", "resource_pressure", **series(n)) for n in range(2))).until(200)
        ship.take(fires(300, "srv-1", "resource_pressure", **series(1)))
        (incident,) = ship.now.values()
        assert (incident.status, incident.anomaly_count) == ("resolved", 2)
        ship.take(fires(310, "srv-1", "resource_pressure", **series(2)))
        (incident,) = ship.now.values()
        assert (incident.status, incident.anomaly_count) == ("open", 4)


class TestUnrelatedAnomaliesMergedBecauseAKeyIsMissingOnBoth:
    def test_a_missing_key_equals_nothing(self) -> None:
        ship = Ship(changed(**of_type("security_alert", keys=("fields.user",))))
        ship.take(*(fires(n, f"srv-{n}", "security_alert", series=f"s{n}") for n in range(3)))
        assert len(ship.by_status("open")) == 3

    def test_a_missing_link_links_nothing(self) -> None:
        ship = Ship(changed(**of_type("security_alert", keys=("device_id",), bridge=("fields.user",))))
        ship.take(*(fires(n, f"srv-{n}", "security_alert", fields={"rhost": "x"}) for n in range(3)))
        assert len(ship.by_status("open")) == 3


class TestFlappingThatOpensAndClosesAllNight:
    def test_the_hold_grows_until_it_stays_open(self) -> None:
        ship = Ship()
        period = 300.0
        for n in range(int(12 * HOUR / period)):
            ship.take(fires(period * n, "srv-1", "resource_pressure"))
            ship.restart() if n % 20 == 7 else None
            ship.take(clears(period * n + 60, "srv-1", "resource_pressure"))
        (incident,) = ship.now.values()
        events = ship.events(incident.incident_id)
        assert incident.status == "open"
        assert events.count("reopened") <= 3
        assert events.count("resolved") <= 3
        ship.until(15 * HOUR)
        assert ship.now[incident.incident_id].status == "resolved"

    def test_also_with_a_hold_of_nothing(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", hold_s=0)))
        for n in range(200):
            ship.take(fires(60.0 * n, "srv-1", "resource_pressure"))
            ship.take(clears(60.0 * n + 30, "srv-1", "resource_pressure"))
        (incident,) = ship.now.values()
        assert ship.events(incident.incident_id).count("reopened") <= 3

    def test_after_a_quiet_time_the_hold_is_the_usual_one(self) -> None:
        ship = Ship()
        for second in (0.0, 300.0):
            ship.take(fires(second, "srv-1", "resource_pressure"), clears(second + 10, "srv-1", "resource_pressure"))
        ship.until(4 * HOUR)
        ship.take(fires(5 * HOUR, "srv-1", "resource_pressure"), clears(5 * HOUR + 10, "srv-1", "resource_pressure"))
        last = list(ship.until(6 * HOUR).now.values())[-1]
        assert last.resolved_at == at(5 * HOUR + 130)


class TestASilenceNobodyOwns:
    ARGS: ClassVar[dict[str, Any]] = {"matchers": {"device_id": "srv-1"}, "duration_s": 600}

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"by": " "}, "by"),
            ({"reason": None}, "reason"),
            ({"reason": " "}, "reason"),
            ({"args": {"matchers": {"device_id": "srv-1"}}}, "a silence must end"),
            ({"args": {"matchers": {"device_id": "srv-1"}, "duration_s": 1e9}}, "duration_s"),
            ({"args": {"duration_s": 600}}, "matchers"),
        ],
    )
    def test_it_is_refused(self, fields: dict[str, Any], says: str) -> None:
        ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
        answer = ship.command(1, "silence", **{"args": self.ARGS, "reason": "because", **fields})
        assert answer.outcome == "refused"
        assert says in answer.reason
        assert ship.by_status("suppressed") == []

    def test_what_it_holds_back_says_who_and_why_and_until_when(self) -> None:
        ship = Ship()
        ship.command(0, "silence", args=self.ARGS, by="eva", reason="backup")
        ship.take(fires(1, "srv-1", "resource_pressure"))
        (record,) = ship.records
        assert (record.kind, record.reason, record.until) == ("silence", "silenced by eva: backup", at(600))


class TestAResolveLostAcrossRestart:
    @pytest.mark.parametrize("cut", [5, 15, 100, 129])
    def test_it_resolves_in_its_time(self, cut: float) -> None:
        ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
        story = [(10.0, clears(10, "srv-1", "resource_pressure"))]
        for second in range(1, 200):
            ship.take(*(each for when, each in story if when == second)).until(second)
            if second == cut:
                ship.restart()
        (incident,) = ship.now.values()
        assert (incident.status, incident.resolved_at) == ("resolved", at(130))

    def test_by_hand_too(self) -> None:
        ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
        (incident_id,) = ship.now
        ship.command(5, "resolve", incident_id)
        ship.restart().take(clears(10, "srv-1", "resource_pressure")).restart().until(500)
        assert ship.events(incident_id) == ["created", "resolved"]

    def test_a_reopened_one_knows_what_still_fires(self) -> None:
        """Resolved by hand while it fires, reopened, cleared: the same with a restart anywhere as without."""
        told = []
        for cut in range(5):
            ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
            (incident_id,) = ship.now
            steps: list[Any] = [
                lambda: None,
                lambda: ship.command(5, "resolve", incident_id),  # noqa: B023 - called in this turn
                lambda: ship.command(20, "reopen", incident_id),  # noqa: B023
                lambda: ship.take(clears(30, "srv-1", "resource_pressure")),  # noqa: B023
                lambda: ship.until(500),  # noqa: B023
            ]
            for place, step in enumerate(steps):
                step()
                ship.restart() if place == cut else None
            told.append(ship.said)
            assert ship.events(incident_id) == ["created", "resolved", "reopened", "resolved"]
            assert ship.now[incident_id].resolved_at == at(150)
        assert all(each == told[0] for each in told)


class TestHundredsOfReachabilityIncidentsWhenOneLinkIsDown:
    HOSTS = 300

    def fleet(self) -> Ship:
        ship = Ship()
        ship.device("rtr-1", "vsat-1")
        for n in range(self.HOSTS):
            ship.device(f"host-{n}", "rtr-1")
        return ship

    def test_cause_first(self) -> None:
        ship = self.fleet().take(fires(0, "vsat-1", "comms_outage"))
        ship.take(*(fires(1 + n / 100, f"host-{n}", "stale_telemetry") for n in range(self.HOSTS))).until(60)
        (told,) = ship.by_status("open")
        assert told.incident_type == "comms_outage"
        assert len(told.impact) == POLICY.correlate.max_evidence
        assert {each.by for each in ship.records} == {told.incident_id}
        assert len(ship.records) == self.HOSTS

    def test_symptoms_first_are_a_storm_and_not_hundreds(self) -> None:
        ship = self.fleet()
        ship.take(*(fires(n / 100, f"host-{n}", "stale_telemetry") for n in range(self.HOSTS)))
        ship.take(fires(10, "vsat-1", "comms_outage"))
        told = [each for each in ship.incidents if each.status == "open" and each.event == "created"]
        assert len(told) <= POLICY.correlate.storm.opened + 1
        assert len(ship.by_status("open")) <= 2

    def test_and_when_it_is_back_those_that_stay_silent_are_not_told_one_by_one(self) -> None:
        ship = self.fleet().take(fires(0, "vsat-1", "comms_outage"))
        ship.take(*(fires(1 + n / 100, f"host-{n}", "stale_telemetry") for n in range(self.HOSTS)))
        ship.take(clears(100, "vsat-1", "comms_outage")).until(1000)
        assert [each.incident_type for each in ship.by_status("open")] == ["incident_storm"]
        assert sum(each.event == "surfaced" for each in ship.incidents) <= POLICY.correlate.storm.opened


class TestTimesWithoutZone:
    def test_every_time_that_is_said_is_utc(self) -> None:
        ship = Ship().take(fires(0, "srv-1", "resource_pressure"))
        (incident_id,) = ship.now
        ship.command(1, "ack", incident_id)
        silence = {"matchers": {"device_id": "srv-1"}, "expires_at": "2026-03-01T02:00:00+01:00"}
        answer = ship.command(2, "silence", args=silence, reason="x")
        assert answer.until == at(HOUR)
        ship.restart().take(clears(3, "srv-1", "resource_pressure")).until(5 * HOUR)
        times = [value for message in ship.said for value in _times(message.model_dump())]
        assert len(times) > 20
        assert {each.utcoffset() for each in times} == {timedelta(0)}
        assert '"opened_at":"2026-03-01T00:00:00Z"' in ship.incidents[0].model_dump_json()

    def test_a_time_without_one_is_refused(self) -> None:
        ship = Ship()
        silence = {"matchers": {"device_id": "srv-1"}, "expires_at": "2026-03-01T02:00:00"}
        answer = ship.command(2, "silence", args=silence, reason="x")
        assert answer.outcome == "refused"
        assert "zone" in answer.reason
        with pytest.raises(ValueError, match="zone"):
            fires(0, "srv-1", "resource_pressure", ts=at(0).replace(tzinfo=None))


def _times(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return [time for each in value for time in _times(each)]
    return [value] if hasattr(value, "utcoffset") else []


class TestWhatComesLate:
    """Windows are event time, deadlines log time: how late something is read changes nothing."""

    def events(self) -> list[Event]:
        out: list[Event] = [Event((0, 0), at(0), Device(ship_id="aurora", device_id="mail", depends_on=("vsat-1",)))]

        def add(body: AnomalyEnriched) -> None:
            out.append(Event((len(out), 0), body.observed_at, body.model_copy(update={"pos": (len(out), 0)})))

        for hour in range(72):
            start = HOUR * hour
            add(fires(start + 1, "vsat-1", "comms_outage"))
            add(fires(start + 2, "mail", "app_degradation"))
            add(clears(start + 300, "vsat-1", "comms_outage"))
            add(clears(start + 310, "mail", "app_degradation"))
            add(fires(start + 2000, f"srv-{hour % 5}", "resource_pressure"))
            add(clears(start + 2100, f"srv-{hour % 5}", "resource_pressure"))
            out.append(Event((len(out), -1), at(start + 3599), OpsTick(ship_id="aurora")))
        return out

    def run(self, batch: int) -> list[Any]:
        logic = CorrelateLogic(CorrelateSlot(load_policy(None)), FlowMetrics("test"))
        events, said = self.events(), []
        for start in range(0, len(events), batch):
            said += [each.message for each in logic.on_batch(events[start : start + batch])[0]]
        return said

    def test_72_hours_at_once_are_the_same_incidents_as_live(self) -> None:
        live, backlog = self.run(1), self.run(100_000)
        assert backlog == live
        incidents = {each.incident_id for each in live if isinstance(each, IncidentPublished)}
        assert len(incidents) == 3 * 72

    def test_an_hour_late_counts_within_its_own_window(self) -> None:
        """Three findings of ten minutes, all arriving an hour later within a second, in another order."""
        ship = Ship(changed(**of_type("resource_pressure", min_events=3, window_s=600)))
        for n, ts in enumerate((600, 0, 300)):
            ship.take(fires(HOUR + n / 10, "srv-1", "resource_pressure", ts=at(ts), **series(n)))
        (incident,) = ship.incidents
        assert incident.opened_at == at(HOUR + 0.2)
        assert sorted(each.ts for each in incident.evidence) == [at(0), at(300), at(600)]

    def test_what_was_far_apart_does_not_count_together_because_it_arrives_together(self) -> None:
        ship = Ship(changed(**of_type("resource_pressure", min_events=3, window_s=600)))
        for n, ts in enumerate((0, 1000, 2000, 3000)):
            ship.take(fires(HOUR + n / 10, "srv-1", "resource_pressure", ts=at(ts), **series(n)))
        assert ship.incidents == []

    def test_late_evidence_joins_the_open_incident_and_keeps_its_time(self) -> None:
        ship = Ship().take(fires(HOUR, "srv-1", "resource_pressure"))
        ship.take(fires(HOUR + 20, "srv-1", "resource_pressure", ts=at(0), **series(1)))
        (incident,) = ship.now.values()
        assert [each.ts for each in incident.evidence] == [at(HOUR), at(0)]
        assert incident.opened_at == at(HOUR)
