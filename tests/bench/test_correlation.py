from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
import structlog

from compose.demo.faults import CYCLE, Fault
from compose.demo.ship import DemoShip
from operators.observability import configure_logging
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.incident import Evidence
from tests.bench import correlation
from tests.bench.correlate_cost import GOAL_BYTES, GOAL_RATIO, cost_figures
from tests.bench.correlation import EVIDENCE, main, run
from tests.bench.grouping import GROUP_WAIT, alertmanager, by_domain
from tests.bench.incident_score import Episode, Hidden, overlapping, score, told
from tests.bench.noisy_ship import NoisyShip, ShuffledShip, _clash
from tests.bench.quiet_day import START
from tests.support.make import anomaly, at
from tests.support.published import incident


@pytest.fixture(autouse=True)
def _few_words() -> Iterator[None]:
    configure_logging("error")
    yield
    structlog.reset_defaults()


def fault(seconds: float, device: str, incident_type: str = "network_issue", **fields: Any) -> Fault:
    known = {"duration": timedelta(seconds=60), "opens_within": timedelta(seconds=20), **fields}
    return Fault("link_down", "net", device, at(seconds), incident_type=incident_type, **known)


def said(seconds: float, *devices: str, named: str | None = "network_issue") -> Episode:
    members = [anomaly(seconds + n, device_id=device) for n, device in enumerate(devices)]
    return Episode(at(seconds), {devices[0]}, members, named, f"about {devices[0]}")


TRUTH = [fault(0, "rtr-1"), fault(0, "vsat-1", "comms_outage", affects=("mail",)), fault(500, "rtr-1")]


def test_each_fault_told_once_is_full_marks() -> None:
    result = score(TRUTH, [said(5, "rtr-1"), said(30, "vsat-1", named="comms_outage"), said(505, "rtr-1")])
    assert (result.precision, result.recall, result.missed) == (1.0, 1.0, [])
    assert not result.false + result.splits + result.merges
    assert result.in_time == 2


def test_what_is_missed_false_split_or_merged_is_counted_as_that() -> None:
    wrong = [
        said(5, "rtr-1"),
        said(10, "rtr-1"),  # told twice
        said(12, "mail", named="app_degradation"),  # what only suffers
        said(300, "srv-9"),  # nothing is wrong with it
        said(506, "rtr-1", "rtr-1", named="equipment_fault"),  # told as something else
        said(15, "rtr-1", "rtr-1", "vsat-1"),
    ]
    result = score(TRUTH, wrong)
    assert [each.kind for each in result.missed] == ["link_down", "link_down"]
    assert [each.start for each in result.missed] == [at(0), at(500)]
    assert (len(result.false), len(result.splits), len(result.merges)) == (1, 4, 1)
    assert (result.precision, result.recall) == (1 / 6, 1 / 3)


def test_the_time_to_open_counts_from_the_fault_s_first_anomaly() -> None:
    late = Episode(at(9), {"rtr-1"}, [anomaly(2, device_id="rtr-1"), anomaly(9, device_id="rtr-1")], "network_issue")
    assert score(TRUTH, [late]).delays == [7.0]


def test_a_symptom_is_attributed_only_to_an_incident_of_its_own_fault() -> None:
    cause, other = said(5, "vsat-1", named="comms_outage"), said(5, "rtr-1")
    members = [anomaly(10, device_id="mail")]
    hidden = [Hidden("mail", members, cause), Hidden("mail", members, other), Hidden("mail", members, None)]
    result = score(TRUTH, [cause, other], hidden)
    assert (result.attributed, len(result.misattributed)) == (1, 2)


def evidence(*anomalies: AnomalyDetected) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(ref=one.anomaly_id, tracking_id=one.tracking_id, summary="", weight=1, ts=one.ts) for one in anomalies
    )


def test_episodes_are_what_people_were_told_of() -> None:
    one, two, three = (anomaly(n, device_id="gw-1") for n in (1, 400, 500))
    mail = anomaly(3, device_id="mail")
    revisions = [
        incident(1, "a", 1, evidence=evidence(one)),
        incident(3, "b", 1, status="suppressed", inhibited_by="a", title="mail", evidence=evidence(mail)),
        incident(9, "a", 2, event="resolved", status="resolved", evidence=evidence(one)),
        incident(20, "b", 2, event="surfaced", title="mail", evidence=evidence(mail)),
        incident(30, "b", 3, event="resolved", status="resolved", title="mail", evidence=evidence(mail)),
        incident(400, "a", 3, event="reopened", evidence=evidence(one, two)),
        incident(500, "a", 4, event="updated", evidence=evidence(one, two, three)),
    ]
    episodes, hidden = told(revisions, [one, two, three, mail])
    assert [(each.opened_at, each.members) for each in episodes] == [
        (at(1), [one]),
        (at(20), [mail]),
        (at(400), [two, three]),
    ]
    assert [(each.members, each.cause) for each in hidden] == [([mail], episodes[0])]


def test_what_is_taken_back_was_told_and_is_attributed_as_well() -> None:
    mail, modem = anomaly(1, device_id="mail"), anomaly(5, device_id="vsat-1")
    revisions = [
        incident(1, "b", 1, title="mail", evidence=evidence(mail)),
        incident(5, "a", 1, title="modem", evidence=evidence(modem)),
        incident(5, "b", 2, event="suppressed", status="suppressed", inhibited_by="a", title="mail"),
    ]
    episodes, hidden = told(revisions, [mail, modem])
    assert [each.told_as for each in episodes] == ["mail", "modem"]
    assert [(each.members, each.cause) for each in hidden] == [([mail], episodes[1])]


def test_the_baselines_group_as_they_say() -> None:
    lines = [anomaly(n, device_id="srv-1", series=f"s{n}") for n in (0, 100, 200, 300, 2000)]
    (only,) = by_domain(lines)
    assert (only.opened_at, len(only.members)) == (at(200), 4)
    assert by_domain(lines[:2]) == []
    policy = load_policy(None).default
    first, clear, again = lines[0], anomaly(50, series="s0", state="cleared"), anomaly(60, series="s0")
    groups = alertmanager([first, anomaly(10, series="s9"), clear, again], policy)
    assert [(each.opened_at, len(each.members)) for each in groups] == [(at(0) + GROUP_WAIT, 3)]
    assert alertmanager([first, anomaly(20, series="s0", state="cleared")], policy) == []


def test_the_demo_ship_s_faults_are_told_once_each_and_their_symptoms_under_them() -> None:
    one = run(7, 1)
    assert len(one.ours.faults) == len({each.kind for each in one.ours.faults}) == 12
    assert min(one.ours.precision, one.ours.recall) >= correlation.GOAL
    assert not one.ours.splits + one.ours.merges + one.ours.misattributed
    assert one.ours.attributed >= 6
    assert sorted(one.ours.delays)[-1] <= correlation.GOAL_DELAY_S
    assert one.domain.merges
    assert one.alerts.splits
    assert one.ours.precision > max(one.domain.precision, one.alerts.precision)


def test_without_inhibition_the_outage_is_many_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {**correlation.POLICY, "correlate": f"max_evidence: {EVIDENCE}\ninhibit: {{rules: []}}\n"}
    monkeypatch.setattr(correlation, "POLICY", without)
    one = run(7, 1)
    assert len([text for text in one.ours.splits if "satcom_outage" in text]) >= 5
    assert one.ours.precision < correlation.GOAL


class Harmless(NoisyShip):
    """Noise alone."""

    def cycle(self, start: datetime) -> list[Fault]:
        return []


def test_noise_alone_opens_nothing() -> None:
    one = run(3, 1, Harmless)
    assert (one.ours.episodes, one.found.dead_letters) == (0, 0)
    assert all(count > 0 for count in one.noise.values()), one.noise


def test_noise_is_the_same_for_the_same_seed_and_does_not_touch_the_ship() -> None:
    times = [START + timedelta(seconds=n) for n in range(60)]
    first, second, plain = (make(5, start=START) for make in (NoisyShip, NoisyShip, DemoShip))
    noisy = [first.step(t) for t in times]
    assert noisy == [second.step(t) for t in times]
    assert noisy != [plain.step(t) for t in times]
    assert first.faults(START, 2) == plain.faults(START, 2)


def test_shuffled_faults_overlap_but_not_where_it_could_not_be_told_whose_anomaly_it_is() -> None:
    ship = ShuffledShip(2, start=START)
    truth = ship.faults(START, 3)
    assert min(each.start for each in truth) >= START + CYCLE / 2
    assert len(truth) == 36
    assert overlapping(truth) >= 24
    assert not any(_clash(one, other) for one, other in combinations(truth, 2))


def test_cost_and_size_hold_with_a_thousand_incidents_and_silences() -> None:
    by_name = {each.name: each.value for each in cost_figures(repeats=3)}
    assert by_name["correlation.state.incident"] <= GOAL_BYTES
    for what in ("absorb", "open"):
        assert by_name[f"correlation.cost.{what}.loaded_over_empty"] <= GOAL_RATIO


def test_no_ship_and_no_cycle_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--seeds", "0"])
    assert "--seeds and --cycles must be at least 1" in capsys.readouterr().err
