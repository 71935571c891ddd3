"""Several detectors of one series speak with one voice; policy says which."""

import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from operators.detect.choose import choose_detectors, metric_rule
from operators.detect.ewma import Ewma
from operators.detect.finding import Finding
from operators.detect.hysteresis import Hysteresis
from operators.detect.slot import DetectSlot
from operators.detect.vote import Vote, Voter
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from tests.support.make import event, sample
from tests.support.size import deep_size


class Above:
    """Fires above a bound, clears below it."""

    def __init__(self, bound: float, score: float) -> None:
        self.bound = bound
        self.strength = score
        self.firing = False
        self.value = 0.0

    @property
    def score(self) -> float:
        return self.strength if self.value > self.bound else self.value / self.bound / 2

    def update(self, at: float, value: float) -> Finding | None:
        self.value = value
        if (value > self.bound) == self.firing:
            return None
        self.firing = not self.firing
        state: Any = "firing" if self.firing else "cleared"
        msg = f"{value:g} is above {self.bound:g}"
        return Finding(state, self.strength, None, None, self.bound, at, msg, value, self.bound)

    def snapshot(self) -> dict[str, Any]:
        return {"firing": self.firing}

    def restore(self, state: dict[str, Any]) -> None:
        self.firing = state["firing"]


LOOSE, STRICT = ("loose", 10, 0.6), ("strict", 20, 0.9)


def vote(*voters: tuple[str, float, float], **options: Any) -> Vote:
    known = {"min_hold_s": 60.0, "flap_count": 3, "flap_window_s": 3600.0, "calm_s": 900.0}
    made = [Voter(name, Above(bound, score)) for name, bound, score in voters or (LOOSE, STRICT)]
    return Vote(made, partial(Hysteresis, **{**known, **options}))


def run(machine: Vote, values: Sequence[float], step: float = 30.0, start: int = 0) -> list[Finding | None]:
    return [machine.update(step * i, value) for i, value in enumerate(values, start)]


def states(found: list[Finding | None]) -> list[str]:
    return [finding.state for finding in found if finding]


def test_two_voters_are_one_finding_that_names_them_with_their_bounds() -> None:
    (finding,) = [each for each in run(vote(), [5, 25, 26, 27]) if each]
    assert finding.msg == "loose: 25 is above 10; strict: 25 is above 20"
    assert (finding.score, finding.upper, finding.statistic, finding.bound) == (0.9, 20, 25, 20)
    assert [(name, said.score, said.statistic, said.bound) for name, said in finding.votes] == [
        ("loose", 0.6, 25, 10),
        ("strict", 0.9, 25, 20),
    ]


def test_only_those_that_fire_have_a_vote() -> None:
    (finding,) = [each for each in run(vote(), [5, 15, 16]) if each]
    assert [name for name, _ in finding.votes] == ["loose"]


def test_it_clears_when_the_last_voter_has_and_the_hold_has_passed() -> None:
    found = run(vote(), [5, 25, 15, 15, 5, 5, 5])
    assert states(found) == ["firing", "cleared"]
    assert [each.votes for each in found if each and each.state == "cleared"] == [()]


def test_one_detector_speaks_for_itself_and_is_held_as_well() -> None:
    found = run(vote(LOOSE), [5, 25, 5, 5, 5, 5])
    assert states(found) == ["firing", "cleared"]
    assert [i for i, each in enumerate(found) if each] == [1, 3]
    assert found[1] is not None
    assert found[1].msg == "25 is above 10"
    assert [name for name, _ in found[1].votes] == ["loose"]


@pytest.mark.parametrize("voters", [(LOOSE,), (LOOSE, STRICT)])
def test_a_flapping_series_is_one_finding_marked_so(voters: tuple[tuple[str, float, float], ...]) -> None:
    found = run(vote(*voters, min_hold_s=0.0), [5, 25] * 10 + [5] * 60)
    assert states(found)[-1] == "cleared"
    assert len(states(found)) < 10
    (flapping,) = [each for each in found if each and each.flapping]
    assert flapping.msg.startswith("flapping, fired 4 times; ")
    assert sum("flapping" in each.msg for each in found if each) == 1


def test_firing_and_clearing_alternate_even_when_a_deadline_passes_between_two_samples() -> None:
    found = run(vote(flap_count=50), [5, 25, 5, 25] * 20 + [5] * 9, step=40.0)
    assert states(found) == ["firing", "cleared"] * (len(states(found)) // 2)
    assert len(states(found)) >= 2


def test_the_score_is_that_of_who_began_to_fire_else_of_the_one_that_ranks_all() -> None:
    machine = vote(LOOSE, ("record_surprise", 100, 0.7))
    scores = []
    for i, value in enumerate([5.0, 25.0, 25.0, 120.0, 120.0]):
        machine.update(30.0 * i, value)
        scores.append(machine.score)
    assert scores == [0.025, 0.6, 0.125, 0.7, 0.7]
    plain = vote()
    run(plain, [5.0])
    assert plain.score == 0.25


@pytest.mark.parametrize("voters", [(LOOSE,), (LOOSE, STRICT)])
@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_resuming_equals_never_stopping(voters: tuple[tuple[str, float, float], ...], cut: int) -> None:
    values = [5.0, 25.0, 15.0, 5.0] * 5 + [5.0] * 20
    whole = run(vote(*voters), values)
    assert states(whole)
    first, second = vote(*voters), vote(*voters)
    before = run(first, values[:cut])
    saved = pickle.loads(pickle.dumps(first.snapshot()))
    assert "Finding" not in repr(saved)
    second.restore(saved)
    assert before + run(second, values[cut:], start=cut) == whole


def test_a_voter_that_policy_dropped_while_it_fired_clears() -> None:
    before, after = vote(), vote(LOOSE)
    run(before, [5, 25])
    state = before.snapshot()
    state["said"] = {"strict": state["said"]["strict"]}
    state["voters"]["loose"] = {"firing": False}
    after.restore(state)
    assert after.firing
    assert states(run(after, [5, 5, 5, 5], start=2)) == ["cleared"]


def test_what_has_never_fired_costs_little() -> None:
    machine = Vote([Voter("ewma", Ewma())])
    run(machine, [50.0 + i % 3 for i in range(500)], 5.0)
    assert deep_size(machine, (Ewma()._settings, Hysteresis)) <= 900
    assert len(pickle.dumps(machine.snapshot(), 5)) <= 200
    assert not hasattr(machine, "__dict__")
    assert set(machine.snapshot()) == {"voters"}


def policy(folder: Path, detect: str, profile: str = "poc") -> PolicySet:
    (folder / "detect.yaml").write_text(detect)
    (folder / "policy.yaml").write_text(f"profile: {profile}\n")
    return load_policy(folder)


@pytest.mark.parametrize(("profile", "kind"), [("poc", "vote"), ("core-fast", "ewma"), ("full", "vote")])
def test_a_profile_has_its_default_detectors(tmp_path: Path, profile: str, kind: str) -> None:
    chosen = choose_detectors(policy(tmp_path, "", profile).default, sample(0, 1.0, metric_name="anything"))
    assert [detector.kind for detector in chosen] == [kind]


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    policies = policy(
        tmp_path,
        "metrics:\n"
        "  quiet: {metric: 'temp*', service: hvac, detectors: []}\n"
        "  temps: {metric: 'temp*', detectors: [mad, flat], direction: up, severity: high}\n",
    )
    hvac = sample(0, 1.0, metric_name="temp_c", service="hvac")
    other = sample(0, 1.0, metric_name="temp_c", service="engine")
    assert choose_detectors(policies.default, hvac) == []
    (detector,) = choose_detectors(policies.default, other)
    assert (detector.kind, detector.severity) == ("vote", "high")
    assert metric_rule(policies.default, other).direction == "up"
    assert metric_rule(policies.default, sample(0, 1.0)).detectors is None


def test_a_value_that_is_no_measurement_is_counted_and_not_judged(tmp_path: Path) -> None:
    slot = DetectSlot(
        policy(tmp_path, "metrics: {snr: {metric: cpu_pct, valid_min: 0, valid_max: 100}}"), max_series=10
    )
    events = [event(sample(60.0 * n, 9999.0)) for n in range(10)]
    assert [out for each in events for out in slot.process(each)] == []
    assert slot.take_counts()["out_of_range"] == 10


def test_under_full_a_stuck_value_after_a_step_is_one_anomaly(tmp_path: Path) -> None:
    slot = DetectSlot(policy(tmp_path, "", "full"), max_series=10)
    values = [50.0 + (n * 7919 % 101) / 50 for n in range(3000)] + [400.0] * 20
    found: list[AnomalyDetected] = []
    for n, value in enumerate(values):
        for out in slot.process(event(sample(5.0 * n, value, metric_name="rpm"))):
            assert isinstance(out, Event)
            assert isinstance(out.body, AnomalyDetected)
            found.append(out.body)
    assert [each.state for each in found] == ["firing"]
    assert found[0].detector == "vote"
    assert "ewma: " in found[0].msg
    votes = {each.detector: each for each in found[0].votes}
    assert "ewma" in votes
    for each in votes.values():
        assert each.score >= 0.5
        assert each.msg in found[0].msg


def test_a_single_detector_and_a_threshold_have_one_vote_each(tmp_path: Path) -> None:
    slot = DetectSlot(policy(tmp_path, "", "core-fast"), max_series=10)
    values = [50.0 + (n * 7919 % 101) / 50 for n in range(3000)] + [99.0] * 40 + [51.0] * 40
    found = [
        out.body
        for n, value in enumerate(values)
        for out in slot.process(event(sample(5.0 * n, value, metric_name="cpu_pct")))
        if isinstance(out, Event) and isinstance(out.body, AnomalyDetected)
    ]
    firing = {each.detector: each for each in found if each.state == "firing"}
    assert set(firing) == {"ewma", "threshold"}
    for name, each in firing.items():
        (only,) = each.votes
        assert (only.detector, only.score, only.since) == (name, each.score, each.since)
        assert only.statistic is not None
        assert only.bound is not None
        assert only.statistic >= only.bound
        assert only.msg in each.msg
    assert [each.votes for each in found if each.state == "cleared"] == [(), ()]
