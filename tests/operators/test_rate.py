import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.rate import NEVER, RateRule, RateSeries, anscombe
from tests.support.make import START, at

RULE = RateRule(warmup_windows=60)
W0 = int(START.timestamp()) // 60


def poisson(mean: float, windows: int, seed: int = 1) -> list[int]:
    return [int(count) for count in np.random.default_rng(seed).poisson(mean, windows)]


def play(series: RateSeries, counts: list[int], first: int = 0, rule: RateRule = RULE) -> list[tuple[int, int]]:
    """So many lines in each window; gives (window, line within it) where it fires."""
    return [
        (first + i, n + 1)
        for i, count in enumerate(counts)
        for n in range(count)
        if series.add(rule, first + i)
    ]  # fmt: skip


def test_it_fires_on_the_very_line_that_reaches_the_limit_and_once_a_storm() -> None:
    series = RateSeries(0)
    assert play(series, poisson(5.0, 120)) == []
    fired = play(series, [500, 500, 500], 120)
    assert len(fired) == 1
    assert fired[0][0] == 120
    assert fired[0][1] == series.limit or fired[0][1] < 60
    assert series.firing


def test_it_clears_after_calm_windows_closed() -> None:
    series = RateSeries(0)
    play(series, [*poisson(5.0, 120), 500, 5, 500, 5, 5])
    assert series.firing
    series.close(RULE, 124)
    assert series.firing
    series.close(RULE, 125)
    assert not series.firing


def test_bursts_at_start_up_do_not_fire() -> None:
    assert play(RateSeries(0), [0, 300, 0, 5000, *[0] * 40, 900]) == []


def test_silence_counts_as_zero() -> None:
    quiet, never_quiet = RateSeries(0), RateSeries(0)
    play(quiet, [*[30] * 100, *[0] * 5000, 1])
    play(never_quiet, [*[30] * 100, *[30] * 5000, 1])
    assert quiet.usual < 2
    assert never_quiet.usual == pytest.approx(30.0, rel=0.01)
    assert play(RateSeries(0), [1, *[0] * 200, 40]) == [(201, 20)]


def test_what_lasts_becomes_normal() -> None:
    rule = RateRule(warmup_windows=60, half_life_s=7200)
    series = RateSeries(0)
    fired = play(series, [*poisson(2.0, 200), *poisson(60.0, 1000)], rule=rule)
    assert len(fired) == 1
    assert not series.firing
    assert series.usual == pytest.approx(60.0, rel=0.1)


def test_a_burst_as_large_as_one_remembered_is_no_news() -> None:
    nightly = [200 if n % 1440 == 60 else 1 for n in range(5 * 1440)]
    assert len(play(RateSeries(0), nightly)) <= 1
    assert len(play(RateSeries(0), [*nightly, 900])) == len(play(RateSeries(0), nightly)) + 1


@pytest.mark.parametrize("mean", [0.01, 0.3, 2.0, 20.0])
def test_independent_lines_fire_less_than_once_in_a_hundred_thousand_windows(mean: float) -> None:
    assert play(RateSeries(0), poisson(mean, 20_000, 3)) == []


@pytest.mark.parametrize("mean", [1.0, 10.0])
def test_bursty_lines_do_not_fire_either(mean: float) -> None:
    counts = np.random.default_rng(2).negative_binomial(1.0, 1.0 / (1.0 + mean), 20_000)
    assert play(RateSeries(0), [int(count) for count in counts]) == []


def test_a_late_line_goes_to_the_window_before_while_that_is_open() -> None:
    series = RateSeries(0)
    play(series, [3, 4])
    assert not series.add(RULE, 0)
    series.close(RULE, 1)
    expected = RateSeries(0)
    play(expected, [4, 4])
    expected.close(RULE, 1)
    assert series.packed() == expected.packed()


def test_a_window_closes_when_log_time_has_passed_its_end_and_the_grace() -> None:
    assert RULE.closes(W0) == at(70)
    assert RULE.closed(at(69.999).timestamp()) == W0 - 1
    assert RULE.closed(at(70).timestamp()) == W0
    assert RULE.window(at(59.999).timestamp()) == W0


@given(st.lists(st.integers(0, 50), min_size=2, max_size=120), st.sampled_from([600, 86_400]))
def test_mean_and_deviation_are_the_weighted_ones_of_numpy(counts: list[int], half_life: int) -> None:
    rule = RateRule(half_life_s=half_life)
    series = RateSeries(0)
    play(series, counts, rule=rule)
    series.close(rule, len(counts) - 1)
    values = np.array([anscombe(count) for count in counts])
    weights = rule.fade ** np.arange(len(counts) - 1, -1, -1)
    mean = float(np.average(values, weights=weights))
    assert series.n == pytest.approx(weights.sum())
    assert series.mean == pytest.approx(mean)
    assert series.s == pytest.approx(float((weights * (values - mean) ** 2).sum()), rel=1e-6, abs=1e-6)
    assert series.deviation == pytest.approx(max(math.sqrt(series.s / (series.n - 1)), 1.0))


@given(st.lists(st.integers(0, 40), max_size=150), st.integers(0, 150))
def test_resuming_equals_never_stopping(counts: list[int], cut: int) -> None:
    rule = RateRule(warmup_windows=5, min_count=2, fire=2.0, clear=1.0)
    whole, first = RateSeries(0), RateSeries(0)
    expected = play(whole, counts, rule=rule)
    before = play(first, counts[:cut], rule=rule)
    second = RateSeries.unpacked(first.packed())
    play(first, [99, 99], len(counts), rule=rule)
    assert before + play(second, counts[cut:], min(cut, len(counts)), rule=rule) == expected
    assert second.packed() == whole.packed()


def test_the_state_is_small_and_a_week_of_silence_is_one_step() -> None:
    series = RateSeries(0)
    play(series, [3])
    series.add(RULE, 10_000_000)
    assert series.learnt == 9_999_998
    assert len(series.packed()) <= 80
    assert not hasattr(series, "__dict__")


def test_no_count_breaks_the_limit() -> None:
    series = RateSeries(0)
    draw = random.Random(1)
    for window in range(100):
        series.current, series.count = window, draw.randrange(2**40)
        series.close(RULE, window)
    series.add(RULE, 102)
    assert series.limit <= NEVER
    assert RateSeries.unpacked(series.packed()).packed() == series.packed()


@pytest.mark.parametrize(
    "bad", [{"window_s": 0}, {"window_s": 10, "grace_s": 11}, {"grace_s": -1}, {"half_life_s": 1.0}]
)
def test_a_rule_that_makes_no_sense_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="rate: expected"):
        RateRule(**bad)
