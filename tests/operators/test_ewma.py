import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import stats

from operators.detect.ewma import Ewma, ewma_settings

PLAIN = ewma_settings(fading=0.1, scale_fading=0.05, long_fading=0.02, clip=1e300, scale_clip=1e140, relearn=10**9)
Values = st.lists(st.floats(-1e6, 1e6), min_size=60, max_size=200)


def feed(machine: Ewma, values: list[float], start: int = 0) -> list[str]:
    found = (machine.update(5.0 * i, value) for i, value in enumerate(values, start))
    return [each.state for each in found if each]


def noise(count: int, seed: int = 1, mean: float = 50.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, 2.0) for _ in range(count)]


@settings(max_examples=50, deadline=None)
@given(Values)
def test_without_clipping_it_is_rivers_weighted_mean(values: list[float]) -> None:
    machine = Ewma(PLAIN)
    feed(machine, values)
    reference = stats.EWMean(0.1)
    reference.update(float(np.mean(values[:10])))  # both weigh alike from the 10th sample on
    for value in values[10:]:
        reference.update(value)
    assert machine._mean == pytest.approx(reference.get(), rel=1e-9, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(Values)
def test_without_clipping_its_variance_is_that_of_one_step_errors(values: list[float]) -> None:
    machine = Ewma(PLAIN)
    feed(machine, values)
    errors, mean = [], values[0]
    for n, value in enumerate(values[1:], 2):
        errors.append((value - mean) ** 2)
        mean += max(0.1, 1 / n) * (value - mean)
    for part, found in ((0.05, machine._var), (0.02, machine._long)):
        first = round(1 / part)
        reference = stats.EWMean(part)
        reference.update(float(np.mean(errors[:first])))
        for error in errors[first:]:
            reference.update(error)
        assert found == pytest.approx(reference.get(), rel=1e-6, abs=1e-6)


def test_its_scale_is_the_batch_deviation_of_white_noise() -> None:
    values = noise(20_000)
    machine = Ewma()
    feed(machine, values)
    assert machine.scale == pytest.approx(np.std(values), rel=0.1)
    assert machine._mean == pytest.approx(np.average(values[-400:], weights=0.98 ** np.arange(399, -1, -1)), abs=1e-3)


def test_a_far_offset_costs_no_precision_unlike_rivers_difference_of_squares() -> None:
    values = noise(3000, mean=1e9)
    machine, river = Ewma(), stats.EWVar(0.001)
    for i, value in enumerate(values):
        machine.update(5.0 * i, value)
        river.update(value)
    assert machine._var**0.5 == pytest.approx(2.0, rel=0.1)
    assert abs(max(river.get(), 0.0) ** 0.5 - 2.0) > 0.5


def test_one_outlier_neither_fires_nor_blinds() -> None:
    machine = Ewma()
    assert feed(machine, noise(20_000)) == []
    before = (machine._mean, machine.scale)
    assert feed(machine, [1e12]) == []
    assert (machine._mean, machine.scale) == pytest.approx(before, rel=0.06)
    assert feed(machine, [200.0] * 3) == ["firing"]


def test_a_new_level_is_told_once_and_then_normal() -> None:
    machine = Ewma()
    feed(machine, noise(20_000))
    assert feed(machine, noise(400, 2, mean=150.0)) == ["firing", "cleared"]
    assert machine._mean == pytest.approx(150.0, abs=2.0)
    assert feed(machine, noise(2000, 3, mean=150.0)) == []


def test_a_pause_without_movement_does_not_make_noise_a_fault() -> None:
    machine = Ewma()
    assert feed(machine, noise(20_000)) == []
    assert feed(machine, [50.0] * 10_000) == []
    assert feed(machine, noise(5000, 4)) == []


def test_a_series_that_never_varied_around_zero_learns_its_scale_first() -> None:
    machine = Ewma()
    assert feed(machine, [0.0] * 5000 + [7.0] * 3 + [0.0] * 50) == []
    assert machine.scale > 0.1


def test_the_minimum_deviation_is_in_the_units_of_the_metric() -> None:
    shy = Ewma(ewma_settings(min_deviation=200.0))
    feed(shy, noise(20_000))
    assert feed(shy, [200.0] * 5) == []
    assert feed(shy, [300.0] * 3) == ["firing"]


@pytest.mark.parametrize(("direction", "states"), [("up", ["firing"]), ("down", []), ("both", ["firing"])])
def test_the_direction_chooses_what_fires_and_both_are_learnt(direction: str, states: list[str]) -> None:
    machine = Ewma(ewma_settings(direction=direction))
    feed(machine, noise(20_000))
    assert feed(machine, noise(50, 2, mean=150.0)) == states
    feed(machine, noise(400, 2, mean=150.0))
    assert machine._mean == pytest.approx(150.0, abs=3.0)


def test_the_bound_and_the_score_are_in_the_finding() -> None:
    machine = Ewma()
    feed(machine, noise(20_000))
    found = [machine.update(1e6 + i, 200.0) for i in range(3)][-1]
    assert found is not None
    assert found.expected is not None
    assert found.upper is not None
    reach = found.upper - found.expected
    ratio = (200.0 - found.expected) / reach
    assert found.score == pytest.approx(ratio / (1 + ratio), rel=0.05)
    assert reach / machine.scale == pytest.approx(machine._judge.bound, rel=0.1)


def test_a_slow_rise_does_not_hide_itself() -> None:
    machine = Ewma()
    feed(machine, noise(300))
    before = machine.scale
    assert "firing" in feed(machine, [50.0 + 3.0 * each for each in range(60)])
    assert machine.scale < 1.3 * before


def test_the_level_of_a_rise_is_where_it_ends_not_where_it_was() -> None:
    machine = Ewma()
    feed(machine, noise(20_000))
    feed(machine, [50.0 + min(each, 50) for each in range(115)])
    assert machine._mean == pytest.approx(100.0, abs=1.0)
