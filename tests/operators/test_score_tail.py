from math import log, log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.score_tail import FLOOR, PRIOR_EXCESS, PRIOR_PEAKS, START, ScoreTail


def tail(**changes: float) -> ScoreTail:
    return ScoreTail(**{"risk": 0.05, "min_size": 0.01, "min_month": 0.0, **changes})  # type: ignore[arg-type]


def fed(sizes: list[float], **changes: float) -> ScoreTail:
    machine = tail(**changes)
    for place, size in enumerate(sizes):
        machine.update(1000 * (place + 1), size)
    machine.update(1000 * (len(sizes) + 1), 0.04)  # ends the last cluster
    return machine


@given(st.lists(st.floats(0.04, 5.0), max_size=40), st.floats(1e-3, 1.0), st.integers(1000, 10**6))
def test_at_the_bound_the_expected_firings_of_a_month_equal_the_risk(
    sizes: list[float], risk: float, seen: int
) -> None:
    month = 43_200.0
    bound = fed(sizes, risk=risk).bound(seen, month)
    peaks = PRIOR_PEAKS + len(sizes)
    excess = PRIOR_PEAKS * PRIOR_EXCESS + sum(log1p(10 * size) - FLOOR for size in sizes)
    chance = (1 + (log1p(10 * bound) - FLOOR) / excess) ** -peaks
    expected = peaks * log(1 + month / seen) / log(1 + (seen + 1) / START)
    if bound < 1e20 and expected > risk and bound > 0.05:
        assert expected * chance == pytest.approx(risk, rel=1e-6)


def test_larger_peaks_a_smaller_risk_and_faster_sampling_raise_the_bound() -> None:
    calm = fed([0.05] * 20).bound(20_000, 43_200.0)
    assert fed([0.5] * 20).bound(20_000, 43_200.0) > calm
    assert fed([0.05] * 20, risk=0.01).bound(20_000, 43_200.0) > calm
    assert fed([0.05] * 20).bound(20_000, 432_000.0) > calm
    assert fed([0.05] * 20, min_month=432_000.0).bound(20_000, 43_200.0) > calm


def test_the_present_cluster_is_not_in_its_own_bound() -> None:
    machine = fed([0.05] * 20)
    before = machine.bound(30_000, 43_200.0)
    machine.update(30_000, 5.0)
    machine.update(30_010, 9.0)
    assert machine.bound(30_010, 43_200.0) == pytest.approx(before, rel=0.05)
    machine.update(31_000, 0.05)
    assert machine.bound(31_000, 43_200.0) > 1.2 * before


def test_the_bound_is_never_under_the_smallest_size_nor_infinite() -> None:
    assert fed([0.04] * 200, min_size=0.7).bound(10**6, 43_200.0) == pytest.approx(0.7)
    assert tail(risk=1e-12).bound(0, 1e12) < float("inf")
