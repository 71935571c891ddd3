import random
from array import array
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.excursion import Excursion
from operators.detect.mad import LONG_FADING, LONG_PART, Mad, MadSettings, mad_settings, median_and_mad

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


class PlainMad:
    """Mad by its equations: the deviation of every sample is computed, needed or not."""

    def __init__(self, settings: MadSettings) -> None:
        self.settings = settings
        self.judge = Excursion(settings.judge)
        self.window: list[float] = []
        self.seen = self.slow = self.long = 0.0

    def update(self, at: float, value: float) -> int:
        own, change = self.settings, 0
        if self.window:
            median, deviation, _ = median_and_mad(array("d", sorted(self.window)))
            floor = max(LONG_PART * sqrt(self.long), own.min_std, own.min_std_fraction * abs(median))
            scale = max(1.4826 * deviation, self.slow, floor)
            distance = value - median
            if len(self.window) >= own.min_samples and scale > own.min_std:
                change = self.judge.update(at, 0.0 if abs(distance) < own.min_deviation else distance / scale)
            self.seen += 1.0
            off = abs(distance)
            if scale > own.min_std and self.seen > own.min_samples:
                off = min(off, own.clip * scale)
            self.slow += max(own.scale_fading, 1.0 / self.seen) * (1.2533 * off - self.slow)
            self.long += max(LONG_FADING, 1.0 / self.seen) * (off * off - self.long)
        self.window = [*self.window, value][-own.window :]
        return change


@given(
    st.lists(st.one_of(st.floats(30.0, 70.0), st.floats(44.0, 58.0), Number), max_size=200),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([1.5, 10.0]),
    st.integers(1, 3),
)
def test_what_is_left_out_makes_no_difference_to_the_last_bit(
    values: list[float], min_deviation: float, clip: float, hold: int
) -> None:
    settings = mad_settings(
        window=21, min_samples=9, risk=1e-2, clip=clip, min_deviation=min_deviation, hold_samples=hold
    )
    machine, plain = Mad(settings), PlainMad(settings)
    for i, value in enumerate([*noise(60), *values, *noise(60, 2)]):
        found, change = machine.update(5.0 * i, value), plain.update(5.0 * i, value)
        assert (found is not None) == (change != 0)
        assert (machine._slow, machine._long) == (plain.slow, plain.long)
        if i % 9 == 0:  # a snapshot tells the judge of all that waited
            assert machine.snapshot()["judge"] == plain.judge.pack()
    assert machine.snapshot()["judge"] == plain.judge.pack()


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
