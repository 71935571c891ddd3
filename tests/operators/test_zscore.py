import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.zscore import ZScore


def detector(**changes: float) -> ZScore:
    known = {"window": 50, "min_samples": 20, "fire": 6.0, "clear": 3.0, "hold_samples": 2, "min_std": 1e-9}
    return ZScore(**{**known, **changes})  # type: ignore[arg-type]


def noise(count: int, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(50.0, 2.0) for _ in range(count)]


def run(machine: ZScore, values: list[float], start: int = 0) -> list[str | None]:
    found = (machine.update(60.0 * i, value) for i, value in enumerate(values, start))
    return [finding.state if finding else None for finding in found]


def test_a_step_fires_after_the_hold_and_clears_when_the_level_is_back() -> None:
    states = run(detector(), [*noise(60), 90.0, 90.0, 90.0, *noise(5, 2)])
    assert states[:61] == [None] * 61
    assert states[61] == "firing"
    assert states[62] is None
    assert [state for state in states[63:] if state] == ["cleared"]


def test_one_outlier_alone_does_not_fire_with_a_hold_of_two() -> None:
    assert set(run(detector(), [*noise(60), 500.0, *noise(60, 3)])) == {None}


def test_nothing_fires_before_enough_samples() -> None:
    assert set(run(detector(), [*noise(19), 1e6])) == {None}


def test_a_constant_series_does_not_divide_by_nothing() -> None:
    machine = detector(min_std=0.5, hold_samples=1)
    assert set(run(machine, [20.0] * 60 + [22.9])) == {None}
    assert run(machine, [99.0], 61) == ["firing"]


def test_the_message_says_value_mean_bounds_and_since_when() -> None:
    machine = detector(hold_samples=1)
    run(machine, noise(60))
    finding = machine.update(3600.0, 90.0)
    assert finding is not None
    assert finding.score > 0.5
    assert finding.expected == pytest.approx(50.0, abs=1.5)
    assert finding.upper is not None
    assert finding.upper < 90.0
    for part in ("90 is", "standard deviations above", "last 50 samples", "bounds", "since 1970-01-01 01:00:00 UTC"):
        assert part in finding.msg


@given(st.lists(st.floats(-1e6, 1e6), min_size=25, max_size=160))
def test_mean_and_deviation_are_those_of_the_window(values: list[float]) -> None:
    machine = detector(fire=1e12)
    for i, value in enumerate(values):
        machine.update(60.0 * i, value)
    window = values[-50:]
    var = machine._rolling.obj
    assert var.mean.get() == pytest.approx(statistics.fmean(window), rel=1e-6, abs=1e-3)
    assert var.get() == pytest.approx(statistics.variance(window), rel=1e-4, abs=1.0)


def test_rounding_does_not_pile_up_after_a_huge_value() -> None:
    machine = detector()
    run(machine, [1e12, *noise(200)])
    window = noise(200)[-50:]
    assert machine._rolling.obj.get() == pytest.approx(statistics.variance(window), rel=1e-6)


@given(cut=st.integers(0, 140))
def test_resuming_equals_never_stopping(cut: int) -> None:
    values = [*noise(70), 90.0, 91.0, 92.0, *noise(67, 4)]
    whole = detector()
    expected = run(whole, values)
    first, second = detector(), detector()
    before = run(first, values[:cut])
    saved = first.snapshot()
    run(first, [1e9] * 3, cut)
    second.restore(saved)
    assert before + run(second, values[cut:], cut) == expected
    assert second.snapshot() == whole.snapshot()
