import random
import statistics
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import stats, utils

from operators.detect.zscore import ZScore, zscore_settings

Number = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
PLAIN = zscore_settings(window=50, min_samples=50, clip=1e90)
"""Nothing is clipped: the plain rolling mean and variance."""


def feed(machine: ZScore, values: list[float], start: int = 0) -> list[str]:
    found = (machine.update(5.0 * i, value) for i, value in enumerate(values, start))
    return [each.state for each in found if each]


def noise(count: int, seed: int = 1, mean: float = 50.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, 2.0) for _ in range(count)]


@given(st.lists(Number, min_size=2, max_size=160))
def test_mean_and_deviation_are_those_of_the_window(values: list[float]) -> None:
    machine = ZScore(PLAIN)
    feed(machine, values)
    window = values[-50:]
    assert machine.mean == pytest.approx(statistics.fmean(window), rel=1e-6, abs=1e-6)
    assert machine.deviation == pytest.approx(np.std(window, ddof=1), rel=1e-5, abs=1e-4)
    stored = array("d")
    stored.frombytes(machine.snapshot()["window"])
    assert list(stored) == window


def test_it_is_rivers_rolling_variance() -> None:
    machine = ZScore(PLAIN)
    rolling: Any = utils.Rolling(stats.Var, window_size=50)
    for i, value in enumerate(noise(1000)):
        machine.update(5.0 * i, value)
        rolling.update(value)
        assert machine.deviation**2 == pytest.approx(rolling.get(), rel=1e-9, abs=1e-12)


@given(st.lists(Number, min_size=1, max_size=99))
def test_it_is_rivers_variance_to_the_last_bit(values: list[float]) -> None:
    machine, var = ZScore(PLAIN), stats.Var()
    for i, value in enumerate(values):
        machine.update(5.0 * i, value)
        var.update(value)
        if i >= 50:
            var.revert(values[i - 50])
        if machine._turn == max(0, i - 49):  # not summed up afresh after a glitch
            assert (machine.mean, machine._squares) == (var.mean.get(), var._S)
        elif i >= 50:
            return


@given(st.lists(Number, max_size=60), st.floats(1e7, 1e9))
def test_with_clipping_they_are_those_of_the_window_as_it_was_learnt(values: list[float], outlier: float) -> None:
    machine = ZScore(zscore_settings(window=50, min_samples=50))
    feed(machine, [*noise(60), outlier])
    window = list(machine._window)
    assert len(window) == 50
    assert max(window) < 400.0
    feed(machine, values)
    window = list(machine._window)
    assert machine.mean == pytest.approx(statistics.fmean(window), rel=1e-6, abs=1e-3)
    assert machine.deviation == pytest.approx(np.std(window, ddof=1), rel=1e-4, abs=1e-2)


def test_rounding_does_not_pile_up_after_a_huge_value() -> None:
    machine = ZScore(PLAIN)
    feed(machine, [1e12, *noise(200)])
    assert machine.deviation == pytest.approx(np.std(noise(200)[-50:], ddof=1), rel=1e-6)


def test_rounding_does_not_pile_up_far_from_zero() -> None:
    machine = ZScore()
    feed(machine, noise(20_000, mean=1e9))
    assert machine.deviation == pytest.approx(2.0, rel=0.15)


def test_one_outlier_neither_fires_nor_blinds() -> None:
    machine = ZScore()
    assert feed(machine, noise(20_000)) == []
    before = (machine.mean, machine.deviation)
    assert feed(machine, [1e12]) == []
    assert machine.deviation < 7 * before[1]
    assert feed(machine, noise(301, 2)) == []
    assert machine.deviation == pytest.approx(before[1], rel=0.2)
    assert feed(machine, [150.0, 180.0, 210.0, 240.0]) == ["firing"]


def test_a_slow_rise_does_not_hide_itself() -> None:
    machine = ZScore()
    feed(machine, noise(20_000))
    assert "firing" in feed(machine, [50.0 + 4 * each for each in range(60)])


def test_a_level_that_jumps_once_and_stays_is_a_new_level() -> None:
    machine = ZScore()
    feed(machine, noise(20_000))
    assert feed(machine, noise(400, 2, mean=150.0)) == []
    assert machine.mean == pytest.approx(150.0, abs=2.0)
    assert feed(machine, noise(2000, 3, mean=150.0)) == []


def test_a_pause_without_movement_does_not_make_noise_a_fault() -> None:
    machine = ZScore()
    assert feed(machine, noise(20_000)) == []
    assert feed(machine, [50.0] * 10_000) == []
    assert feed(machine, noise(5000, 4)) == []


def test_nothing_fires_before_enough_samples() -> None:
    machine = ZScore(zscore_settings(min_samples=100))
    assert feed(machine, [*noise(95), 150.0, 200.0, 250.0, 300.0]) == []
    early = ZScore(zscore_settings(min_samples=95))
    assert feed(early, [*noise(95), 150.0, 200.0, 250.0, 300.0]) == ["firing"]


def test_the_floors_keep_a_series_that_hardly_moves_from_being_judged_finely() -> None:
    steady = [100.0 + i % 2 * 1e-3 for i in range(5000)]
    assert feed(ZScore(zscore_settings(min_std_fraction=0.01)), [*steady, 101.0, 102.0, 103.0]) == []
    assert feed(ZScore(zscore_settings(min_std_fraction=0.0)), [*steady, 101.0, 102.0, 103.0]) == ["firing"]


def test_what_it_says_is_what_it_compared() -> None:
    machine = ZScore()
    feed(machine, noise(20_000))
    finding = [machine.update(1e6 + i, 120.0 + 41.0 * i) for i in range(3)][-1]
    assert finding is not None
    assert finding.statistic is not None
    assert finding.bound is not None
    assert finding.upper is not None
    assert finding.expected is not None
    assert finding.statistic >= finding.bound
    assert finding.score == pytest.approx(finding.statistic / (finding.statistic + finding.bound))
    assert finding.statistic >= finding.bound == 6.0
    assert 50.0 + 6 * 2.0 < finding.upper < 120.0
    for part in ("202 is", "standard deviations above", "last 300 samples", "bounds", "since 1970-01-12 13:46:40 UTC"):
        assert part in finding.msg


@pytest.mark.parametrize(
    ("changes", "text"), [({"window": -1}, "window is -1"), ({"min_samples": 301}, "min_samples is 301")]
)
def test_a_wrong_window_is_refused(changes: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        zscore_settings(**changes)


def test_a_shorter_window_keeps_the_latest_samples_of_a_snapshot() -> None:
    wide, narrow = ZScore(), ZScore(zscore_settings(window=100, min_samples=50))
    values = noise(1000)
    feed(wide, values)
    narrow.restore(wide.snapshot())
    assert narrow.mean == pytest.approx(statistics.fmean(values[-100:]))
    assert feed(narrow, noise(500, 2)) == []
