"""What a detector counts itself while nothing goes on makes no difference, beside one that hands it in at once."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.ewma import Ewma, ewma_settings
from operators.detect.excursion import MOST_WAITING
from operators.detect.finding import MetricDetector
from operators.detect.flat import Flat, flat_settings
from operators.detect.mad import Mad, mad_settings
from operators.detect.seasonal import Seasonal, seasonal_settings
from operators.detect.tail import PeakTail, TailSettings

HOUR = 3600.0
MEMORY = 150.0  # samples, so that history is halved while some wait


def remembering(tail: PeakTail) -> PeakTail:
    tail.settings = tail.settings._replace(memory=MEMORY)
    return tail


def ewma() -> Ewma:
    return Ewma(ewma_settings(risk=1e-2, min_samples=20, relearn=20, tail_memory=MEMORY))


def mad() -> Mad:
    machine = Mad(mad_settings(window=21, min_samples=10, risk=1e-2))
    remembering(machine._judge.tail)
    return machine


def seasonal() -> Seasonal:
    machine = Seasonal(seasonal_settings(risk=1e-1))
    remembering(machine._judge.tail)
    return machine


def flat() -> Flat:
    machine = Flat(flat_settings(risk=1e-1, warmup_s=0.0, min_s=0.0, min_changes=3, level=4))
    remembering(machine._tail)
    return machine


def values(seed: int, spikes: list[tuple[int, float]]) -> list[float]:
    draw = np.random.default_rng(seed)
    out = np.round(50.0 + draw.standard_t(4.0, 900), 1)
    for at, size in spikes:
        out[at : at + 5] += size
    return [float(value) for value in out]


@pytest.mark.parametrize("make", [ewma, mad, seasonal, flat])
@given(seed=st.integers(0, 1000), spikes=st.lists(st.tuples(st.integers(0, 890), st.floats(-300.0, 300.0)), max_size=4))
def test_what_waits_makes_no_difference(
    make: Callable[[], MetricDetector], seed: int, spikes: list[tuple[int, float]]
) -> None:
    lazy, prompt = make(), make()
    for i, value in enumerate(values(seed, spikes)):
        assert lazy.update(i * HOUR, value) == prompt.update(i * HOUR, value)
        prompt.snapshot()  # tells the judge of what waited
        assert (lazy.score, lazy.firing) == (prompt.score, prompt.firing)
    assert lazy.snapshot() == prompt.snapshot()


@pytest.mark.parametrize("make", [ewma, mad, seasonal, flat])
def test_some_do_wait_and_never_more_than_so_many(make: Callable[[], MetricDetector]) -> None:
    machine = make()
    waited = set()
    for i in range(3000):
        machine.update(i * HOUR / 2, 50.0 + i % 3)
        waited.add(machine._waiting)  # type: ignore[attr-defined]
    assert MOST_WAITING / 2 < max(waited) <= MOST_WAITING


@given(before=st.integers(0, 700), many=st.integers(1, 500), memory=st.sampled_from([3.0, 40.5, 150.0, 1e6]))
def test_samples_counted_at_once_are_those_counted_one_by_one(before: int, many: int, memory: float) -> None:
    tails = [PeakTail(TailSettings(memory=memory)) for _ in range(2)]
    for tail in tails:
        tail.peaks, tail.excess = 7.0, 1.3
        for _ in range(before):
            tail.count()
    tails[0].count(many)
    for _ in range(many):
        tails[1].count()
    assert tails[0].samples == tails[1].samples
    assert (tails[0].peaks, tails[0].excess) == (tails[1].peaks, tails[1].excess)
