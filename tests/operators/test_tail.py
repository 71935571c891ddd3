import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.tail import PeakTail, TailSettings


def tail(samples: float, peaks: float = 0.0, excess: float = 0.0, **changes: float) -> PeakTail:
    made = PeakTail(TailSettings(**changes))
    made.samples, made.peaks, made.excess = samples, peaks, excess
    return made


@given(st.floats(1, 1e7), st.integers(0, 500), st.floats(0, 1e4), st.floats(1e-9, 1e-3))
def test_the_bound_is_where_the_expected_rate_of_peaks_meets_the_risk(
    samples: float, peaks: int, excess: float, risk: float
) -> None:
    known = tail(samples, peaks, excess, risk=risk)
    rate = (peaks + 1) / samples
    bound = known.bound()
    if rate <= risk:
        assert bound == 5.0
    else:
        beyond = (1 + (bound - 5.0) / (4.0 + excess)) ** -(4.0 + peaks)
        assert rate * beyond == pytest.approx(risk, rel=1e-6)


def test_the_law_of_the_next_peak_is_the_average_over_what_the_rate_may_be() -> None:
    known = tail(1e4, peaks=4, excess=6.0, risk=1e-5)
    rates = np.random.default_rng(1).gamma(4.0 + 4, 1 / (4.0 + 6.0), 400_000)
    beyond = np.exp(-rates * (known.bound() - 5.0)).mean()
    assert 5 / 1e4 * beyond == pytest.approx(1e-5, rel=0.15)


def test_exponential_peaks_exceed_the_bound_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(2)
    false = samples = 0
    for _ in range(60):
        known = PeakTail(TailSettings(risk=1e-4))
        known.samples = 500.0
        for gap, size in zip(rng.geometric(0.01, 500), rng.exponential(1.0, 500), strict=True):
            known.samples += gap
            samples += gap
            false += 5.0 + size > known.bound()
            known.add(5.0 + size)
    assert 0.1e-4 < false / samples < 1.3e-4


def test_quiet_lowers_the_bound_and_large_peaks_raise_it() -> None:
    assert tail(1e6).bound() < tail(1e5).bound() < tail(1e4).bound() < tail(1e3).bound()
    assert tail(1e5, 1, 30.0).bound() > tail(1e5).bound()
    assert tail(1e8).bound() == 5.0
    assert tail(0).bound() == float("inf")


def test_a_peak_at_the_level_is_none() -> None:
    known = tail(10.0)
    known.add(5.0)
    known.add(1.0)
    assert (known.peaks, known.excess) == (0.0, 0.0)
    known.samples = 1e4
    known.add(6.5)
    assert (known.peaks, known.excess) == (1.0, 1.5)


def test_a_peak_is_capped_a_little_over_the_bound() -> None:
    known = tail(1e8)
    known.add(1e9)
    assert (known.bound(), known.peaks, known.excess) == (5.0, 1.0, 4.0)


def test_history_beyond_the_memory_counts_half() -> None:
    known = tail(0.0, memory=100.0)
    for i in range(1000):
        known.count()
        if i % 10 == 0:
            known.add(7.0)
    assert 100 <= known.samples < 200
    assert known.peaks / known.samples == pytest.approx(0.1, rel=0.05)
    assert known.excess == pytest.approx(2.0 * known.peaks)
