"""Which detectors policy gives a series, with which parameters; and detectors of one's own."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from operators.detect.choose import SHIPPED, Place, build, choose_detectors, metric_rule
from operators.detect.custom import Guarded, check_custom
from operators.detect.finding import Finding, MetricDetector
from operators.detect.slot import DetectSlot
from operators.detect.vote import Vote
from policy import PolicyError, PolicySet, load_policy
from policy.detect_parameters import DETECTORS
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.settings import Settings
from tests.support.make import event, sample
from tests.support.own_detector import Jump

HERE = "tests.operators.test_choose"


def policy(folder: Path, detect: str) -> PolicySet:
    (folder / "detect.yaml").write_text(detect)
    return load_policy(folder)


def machines(policies: PolicySet, metric: str = "rpm") -> dict[str, MetricDetector]:
    out: dict[str, MetricDetector] = {}
    for detector in choose_detectors(policies.default, sample(0, 1.0, metric_name=metric)):
        assert isinstance(detector.machine, Vote)
        out |= dict(detector.machine.voters)
    return out


def test_policy_and_registry_know_the_same_detectors() -> None:
    assert tuple(SHIPPED) == DETECTORS


def test_parameters_reach_the_detectors_and_are_shared_between_series(tmp_path: Path) -> None:
    policies = policy(
        tmp_path,
        "outliers: {detectors: [zscore, ewma, mad, seasonal, flat], risk: 0.5}\n"
        "zscore: {window: 99, min_samples: 50, hold_samples: 7, fire: 3.5}\n"
        "parameters:\n"
        "  ewma: {fading: 0.05, min_samples: 77, hold_samples: 4, relearn_samples: 55}\n"
        "  mad: {window: 41, min_samples: 21, hold_samples: 5}\n"
        "  seasonal: {fading: 0.5, min_weeks: 3, hold_samples: 6}\n"
        "  flat: {min_s: 60, warmup_s: 3600, min_changes: 9}\n",
    )
    one, other = machines(policies), machines(policies, "temp_c")
    found: dict[str, Any] = {name: machine._settings for name, machine in one.items()}  # type: ignore[attr-defined]
    risk = policies.default.detect.outliers.risk_per_sample
    assert (found["zscore"].window, found["zscore"].min_samples, found["zscore"].judge.hold) == (99, 50, 7)
    ewma = found["ewma"]
    assert (ewma.fading, ewma.min_samples, ewma.judge.hold, ewma.relearn) == (0.05, 77, 4, 55)
    assert (found["mad"].window, found["mad"].min_samples, found["mad"].judge.hold) == (41, 21, 5)
    assert (found["seasonal"].fading, found["seasonal"].min_weeks, found["seasonal"].judge.hold) == (0.5, 3, 6)
    assert found["flat"][1:4] == (60, 3600, 9)
    assert {found[name].judge.tail.risk for name in ("ewma", "mad", "seasonal")} == {risk}
    assert found["zscore"].judge.fire == 3.5
    assert found["flat"].tail.risk == risk
    for name, machine in other.items():
        assert machine._settings is found[name]  # type: ignore[attr-defined]


def test_direction_and_least_deviation_of_a_rule_reach_every_detector_that_has_them(tmp_path: Path) -> None:
    policies = policy(
        tmp_path,
        "metrics: {temps: {metric: 'temp*', detectors: [zscore, ewma, mad, seasonal], direction: up, "
        "min_deviation: 4}}\n",
    )
    for machine in machines(policies, "temp_c").values():
        settings = machine._settings  # type: ignore[attr-defined]
        assert (settings.judge.direction, settings.min_deviation) == ("up", 4)


def test_zscore_leaves_out_the_metrics_that_its_own_rule_excludes(tmp_path: Path) -> None:
    policies = policy(tmp_path, "outliers: {detectors: [zscore]}\nzscore: {exclude: ['*_total']}\n")
    assert list(machines(policies)) == ["zscore"]
    assert choose_detectors(policies.default, sample(0, 1.0, metric_name="bytes_total")) == []


def test_every_shipped_detector_is_built_by_its_name() -> None:
    shipped = load_policy(None).default
    for name in DETECTORS:
        machine = build(name, Place(shipped.detect, metric_rule(shipped, sample(0, 1.0)), "rpm"))
        assert machine is not None
        assert type(machine).__name__.lower() == name.replace("_", "")


OWN = "outliers: {detectors: [jump]}\ncustom:\n  jump: {class: 'tests.support.own_detector:Jump', params: {most: 25}}\n"


def test_a_detector_of_ones_own_takes_one_file_and_one_policy_entry(tmp_path: Path) -> None:
    policies = policy(tmp_path, OWN)
    check_custom(policies)
    (machine,) = machines(policies).values()
    assert isinstance(machine, Guarded)
    assert isinstance(machine.machine, Jump)
    assert machine.machine.most == 25
    slot = DetectSlot(policies, max_series=10)
    values = [50.0, 51.0, 90.0, 91.0] + [90.0] * 40
    found = [
        out.body
        for n, value in enumerate(values)
        for out in slot.process(event(sample(5.0 * n, value, metric_name="rpm")))
        if isinstance(out, Event) and isinstance(out.body, AnomalyDetected)
    ]
    assert [(each.detector, each.state) for each in found] == [("jump", "firing"), ("jump", "cleared")]
    assert "51 became 90" in found[0].msg


class Risky(Jump):
    """Takes the risk that policy allows."""

    def __init__(self, *, risk: float) -> None:
        super().__init__(most=1.0 / risk)


class WithoutScore:
    firing = False

    def update(self, at: float, value: float) -> Finding | None:
        return None

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class Forgetful(Jump):
    """Forgets its value."""

    def snapshot(self) -> dict[str, Any]:
        return {"now": (0.0, 0, 0.0, 0.0, False)}


class Poisoned(Jump):
    """Takes NaN for a value."""

    def update(self, at: float, value: float) -> Finding | None:
        self._size = 0.0 if self._value is None else abs(value - self._value)
        self._value = value
        return None


class Telling(Jump):
    """Says something that is no finding."""

    def update(self, at: float, value: float) -> Finding | None:
        return "high"  # type: ignore[return-value]


class Boundless(Jump):
    """Scores as it likes."""

    @property
    def score(self) -> float:
        return 7.0


class Breaking(Jump):
    """Breaks down."""

    def update(self, at: float, value: float) -> Finding | None:
        raise ZeroDivisionError("division by zero")


class Hoarding(Jump):
    """Keeps too much."""

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "all": b"x" * 40_000}


def test_risk_is_passed_to_a_constructor_that_takes_it(tmp_path: Path) -> None:
    policies = policy(tmp_path, f"outliers: {{detectors: [mine]}}\ncustom: {{mine: {{class: '{HERE}:Risky'}}}}\n")
    check_custom(policies)
    (machine,) = machines(policies).values()
    assert isinstance(machine, Guarded)
    assert isinstance(machine.machine, Risky)
    assert machine.machine.most == pytest.approx(1.0 / policies.default.detect.outliers.risk_per_sample)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("no.such.module:Thing", "module no.such.module cannot be imported"),
        ("tests.support.own_detector:Nothing", "has no class Nothing"),
        ("tests.support.own_detector:Jump', params: {moist: 3}, class: '", "cannot be built"),
        (f"{HERE}:WithoutScore", "lacks score"),
        (f"{HERE}:Forgetful", "after restore"),
        (f"{HERE}:Poisoned", "NaN and infinity must not change its state"),
        (f"{HERE}:Telling", "gave str, expected a Finding or None"),
        (f"{HERE}:Boundless", "score 7.0"),
        (f"{HERE}:Breaking", "failed on a trial series: ZeroDivisionError"),
        (f"{HERE}:Hoarding", "expected at most 32768"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_at_start(tmp_path: Path, entry: str, text: str) -> None:
    name, _, params = entry.partition("', params")
    given = "params: {moist: 3}" if params else "params: {most: 25}"
    if name.endswith("WithoutScore"):
        given = "params: {}"
    policies = policy(tmp_path, f"outliers: {{detectors: [mine]}}\ncustom:\n  mine: {{class: '{name}', {given}}}\n")
    with pytest.raises(PolicyError) as caught:
        check_custom(policies)
    said = str(caught.value)
    assert text in said
    assert "detect.yaml:3: detect.custom.mine: " in said


def test_the_commands_refuse_it_in_one_line(tmp_path: Path) -> None:
    from compose.replay import replay
    from watchkeeper import app

    policy(tmp_path, "custom: {mine: {class: 'no.such.module:Thing'}}\n")
    result = CliRunner().invoke(app, ["policy", "check", "--policy", str(tmp_path)])
    assert result.exit_code == 2
    assert "no.such.module cannot be imported" in result.output
    capture = tmp_path / "empty.ndjson"
    capture.write_text("")
    with pytest.raises(PolicyError, match=r"no\.such\.module cannot be imported"):
        replay([capture], load_policy(tmp_path), Settings(), print)


def test_a_custom_detector_of_one_ship_is_checked_as_well(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "ships: {aurora: {detect: {custom: {mine: {class: 'no.such.module:Thing'}}}}}\n"
    )
    with pytest.raises(PolicyError, match="ship aurora"):
        check_custom(load_policy(tmp_path))


class Bomb(Jump):
    """Passes every trial, and fails on a value that no trial has."""

    def update(self, at: float, value: float) -> Finding | None:
        if value == 1e6:
            raise RuntimeError("boom")
        return super().update(at, value)

    @property
    def score(self) -> float:
        return 7.0


def test_a_detector_that_fails_later_does_not_stop_the_flow_and_clears_what_it_fired() -> None:
    machine = Guarded("own:Bomb", Bomb(most=25))
    said = [machine.update(5.0 * i, value) for i, value in enumerate([50.0, 90.0, 1e6, 50.0, 500.0])]
    assert [each.state if each else None for each in said] == [None, "firing", "cleared", None, None]
    cleared = said[2]
    assert cleared is not None
    assert "own:Bomb failed (RuntimeError: boom)" in cleared.msg
    assert (machine.firing, machine.score) == (False, 0.0)


def test_a_score_beyond_one_is_cut() -> None:
    assert Guarded("own:Bomb", Bomb(most=25)).score == 1.0
