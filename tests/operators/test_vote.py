"""Several detectors of one series speak with one voice; policy says which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from operators.detect.choose import choose_detectors, metric_rule
from operators.detect.finding import Finding
from operators.detect.hysteresis import Hysteresis
from operators.detect.slot import DetectSlot
from operators.detect.vote import Vote, Voter
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from tests.support.make import event, sample


class Above:
    """Fires above a bound, clears below it."""

    def __init__(self, bound: float, score: float) -> None:
        self.bound = bound
        self.score = score
        self.firing = False

    def update(self, at: float, value: float) -> Finding | None:
        if (value > self.bound) == self.firing:
            return None
        self.firing = not self.firing
        state: Any = "firing" if self.firing else "cleared"
        return Finding(state, self.score, None, None, self.bound, at, f"{value:g} is above {self.bound:g}")

    def snapshot(self) -> dict[str, Any]:
        return {"firing": self.firing}

    def restore(self, state: dict[str, Any]) -> None:
        self.firing = state["firing"]


def vote(**options: Any) -> Vote:
    known = {"min_hold_s": 60.0, "flap_count": 3, "flap_window_s": 3600.0, "calm_s": 900.0}
    voters = [Voter("loose", Above(10, 0.6)), Voter("strict", Above(20, 0.9))]
    return Vote(voters, Hysteresis(**{**known, **options}))


def run(machine: Vote, values: Sequence[float], step: float = 30.0, start: int = 0) -> list[Finding | None]:
    return [machine.update(step * i, value) for i, value in enumerate(values, start)]


def states(found: list[Finding | None]) -> list[str]:
    return [finding.state for finding in found if finding]


def test_two_voters_are_one_finding_that_names_them_with_their_bounds() -> None:
    (finding,) = [each for each in run(vote(), [5, 25, 26, 27]) if each]
    assert finding.msg == "loose: 25 is above 10; strict: 25 is above 20"
    assert (finding.score, finding.upper) == (0.9, 20)


def test_it_clears_when_the_last_voter_has_and_the_hold_has_passed() -> None:
    assert states(run(vote(), [5, 25, 15, 15, 5, 5, 5])) == ["firing", "cleared"]


def test_a_flapping_series_is_one_finding_marked_so() -> None:
    found = run(vote(min_hold_s=0.0), [5, 25] * 10 + [5] * 60)
    assert states(found)[-1] == "cleared"
    assert len(states(found)) < 10
    assert sum("flapping, fired 4 times" in each.msg for each in found if each) == 1


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_resuming_equals_never_stopping(cut: int) -> None:
    values = [5.0, 25.0, 15.0, 5.0] * 5 + [5.0] * 20
    whole = run(vote(), values)
    first, second = vote(), vote()
    before = run(first, values[:cut])
    second.restore(first.snapshot())
    assert before + run(second, values[cut:], start=cut) == whole


def policy(folder: Path, detect: str, profile: str = "poc") -> PolicySet:
    (folder / "detect.yaml").write_text(detect)
    (folder / "policy.yaml").write_text(f"profile: {profile}\n")
    return load_policy(folder)


@pytest.mark.parametrize(("profile", "kind"), [("poc", "zscore"), ("core-fast", "ewma"), ("full", "vote")])
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
            assert isinstance(out.body, AnomalyDetected)
            found.append(out.body)
    assert [each.state for each in found] == ["firing"]
    assert found[0].detector == "vote"
    assert "ewma: " in found[0].msg
