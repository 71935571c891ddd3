from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.score_tail import START, ScoreTail

MONTH = 43_200.0
INF = float("inf")


def tail(**changes: float) -> ScoreTail:
    return ScoreTail(**{"risk": 0.05, "min_size": 0.01, "min_month": 0.0, **changes})  # type: ignore[arg-type]


def fed(sizes: list[float], **changes: float) -> ScoreTail:
    machine = tail(**changes)
    for place, size in enumerate(sizes):
        machine.update(START + 200 * place, size, INF)
    return machine


@given(st.lists(st.floats(0.04, 5.0), min_size=1, max_size=15), st.floats(1e-3, 1.0), st.integers(3100, 10**6))
def test_at_the_bound_a_month_is_expected_to_bring_the_risk(sizes: list[float], risk: float, seen: int) -> None:
    machine = fed(sizes, risk=risk)
    ahead = log(1 + MONTH / seen) / log(1 + (seen + 1) / 50)
    beyond = (machine.bound(seen, MONTH) / max(sizes)) ** -machine.shape
    assert ahead * beyond <= risk * 1.000001
    if ahead > risk * machine.min_stretch**machine.shape:
        assert ahead * beyond == pytest.approx(risk, rel=1e-6)


def test_a_larger_peak_a_smaller_risk_and_faster_sampling_raise_the_bound() -> None:
    calm = fed([0.05] * 10).bound(20_000, MONTH)
    assert fed([0.05] * 9 + [0.5]).bound(20_000, MONTH) == pytest.approx(10 * calm)
    assert fed([0.05] * 10, risk=0.001).bound(20_000, MONTH) > calm
    assert fed([0.05] * 10).bound(2000, 10 * MONTH) > fed([0.05] * 10).bound(2000, MONTH)
    assert fed([0.05] * 10, min_month=10 * MONTH).bound(2000, MONTH) > fed([0.05] * 10).bound(2000, MONTH)


def test_in_the_end_only_what_far_exceeds_everything_fires() -> None:
    assert fed([0.05, 0.3, 0.1]).bound(10**7, MONTH) == pytest.approx(3.5 * 0.3)


def test_the_present_cluster_is_not_in_its_own_bound() -> None:
    machine = fed([0.05] * 10)
    before = machine.bound(3000, MONTH)
    machine.update(3000, 5.0, INF)
    machine.update(3010, 9.0, INF)
    assert machine.bound(3010, MONTH) == pytest.approx(before, rel=0.05)
    assert machine.bound(3200, MONTH) > 50 * before


def test_a_fault_does_not_blind_and_what_comes_again_is_learnt() -> None:
    machine = fed([0.05] * 10)
    bounds = []
    for place in range(3000, 4200, 300):
        bounds.append(machine.bound(place, MONTH))
        machine.update(place, 50.0, bounds[-1])
    assert bounds[1] < 20 * bounds[0]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 50.0


def test_the_bound_is_never_under_the_smallest_size_nor_infinite() -> None:
    assert fed([0.04] * 10, min_size=0.7).bound(10**6, MONTH) == pytest.approx(0.7)
    assert tail(risk=1e-12).bound(0, 1e12) < float("inf")
