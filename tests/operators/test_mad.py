import random
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.mad import Mad, mad_settings, median_and_mad

Number = st.one_of(st.floats(-1e9, 1e9), st.integers(-3, 3).map(float))


def feed(machine: Mad, values: list[float], start: int = 0) -> list[str]:
    found = (machine.update(5.0 * i, value) for i, value in enumerate(values, start))
    return [each.state for each in found if each]


def noise(count: int, seed: int = 1, mean: float = 50.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, 2.0) for _ in range(count)]


@given(st.lists(Number, min_size=1, max_size=60), st.integers(0, 40))
def test_median_and_deviation_are_numpys(values: list[float], guess: int) -> None:
    median, deviation, split = median_and_mad(array("d", sorted(values)), guess)
    assert (median, deviation) == median_and_mad(array("d", sorted(values)), split)[:2]
    assert median == np.median(values)
    assert deviation == pytest.approx(np.median(np.abs(np.array(values) - np.median(values))), rel=1e-12, abs=1e-12)


@given(st.lists(Number, min_size=1, max_size=120), st.integers(3, 40))
def test_the_window_is_the_latest_samples(values: list[float], window: int) -> None:
    machine = Mad(mad_settings(window=window, min_samples=1))
    feed(machine, values)
    assert list(machine._sorted) == sorted(values[-window:])
    stored = array("d")
    stored.frombytes(machine.snapshot()["window"])
    assert list(stored) == values[-window:]


def test_its_scale_is_that_of_white_noise() -> None:
    machine = Mad(mad_settings(window=200))
    feed(machine, noise(5000))
    assert machine._slow == pytest.approx(2.0, rel=0.05)


def test_a_new_level_is_told_once_and_normal_when_it_fills_half_the_window() -> None:
    machine = Mad(mad_settings(risk=1e-5))
    assert feed(machine, noise(20_000)) == []
    assert feed(machine, noise(55, 2, mean=150.0)) == ["firing"]
    assert feed(machine, noise(30, 3, mean=150.0)) == ["cleared"]
    assert feed(machine, noise(3000, 4, mean=150.0)) == []


def test_outliers_up_to_half_of_the_window_do_not_move_it() -> None:
    machine = Mad(mad_settings(window=100, min_samples=50))
    values = noise(3000)
    for i in range(2900, 3000, 5):
        values[i] = 1e9
    feed(machine, values)
    assert median_and_mad(machine._sorted)[0] == pytest.approx(50.0, abs=1.5)


def test_a_coarse_sensor_is_not_all_outliers() -> None:
    draw = random.Random(4)
    assert feed(Mad(), [20.0 + (draw.random() < 0.2) * 0.5 for _ in range(50_000)]) == []


@pytest.mark.parametrize(("changes", "text"), [({"window": 201}, "window is 201"), ({"min_samples": 121}, "is 121")])
def test_a_wrong_window_is_refused(changes: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Mad(mad_settings(**changes))


def test_a_shorter_window_keeps_the_latest_samples_of_a_snapshot() -> None:
    wide, narrow = Mad(mad_settings(window=100, min_samples=50)), Mad(mad_settings(window=40, min_samples=20))
    values = noise(500)
    feed(wide, values)
    narrow.restore(wide.snapshot())
    assert list(narrow._sorted) == sorted(values[-40:])
    assert feed(narrow, noise(200, 2)) == []
