import math
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.detect.stale import Stale, StaleSettings
from operators.detect.tail import TailSettings


def steady(count: int = 2000, step: float = 5.0, jitter: float = 0.5) -> tuple[Stale, float]:
    draw = random.Random(1)
    pulse, at = Stale(), 0.0
    for _ in range(count):
        at += step + draw.uniform(-jitter, jitter)
        assert pulse.due(at) is None
        assert pulse.seen(at) is None
    return pulse, at


def test_silence_fires_at_the_deadline_and_any_sample_clears_it() -> None:
    pulse, last = steady()
    deadline = pulse.deadline
    assert deadline is not None
    assert 60 <= deadline - last < 200
    assert pulse.due(math.nextafter(deadline, 0)) is None
    found = pulse.due(deadline)
    assert found is not None
    assert (found.state, found.score, found.since) == ("firing", 0.5, last)
    assert "usually a sample every 4.99" in found.msg
    assert pulse.firing
    assert pulse.deadline is None
    assert pulse.due(deadline + 1e6) is None
    back = pulse.seen(deadline + 100)
    assert back is not None
    assert (back.state, back.since) == ("cleared", last)
    assert not pulse.firing


def test_the_score_grows_with_the_silence() -> None:
    scores = []
    for late in (0.0, 100.0, 10_000.0):
        pulse, _ = steady()
        deadline = pulse.deadline
        assert deadline is not None
        found = pulse.due(deadline + late)
        assert found is not None
        scores.append(found.score)
    assert scores == sorted(set(scores))
    assert scores[0] == 0.5
    assert scores[-1] < 1.0


def test_a_rhythm_must_be_known_first() -> None:
    pulse = Stale(StaleSettings(min_gaps=20))
    for i in range(20):
        pulse.seen(5.0 * i)
        assert pulse.deadline is None
        assert pulse.due(1e9) is None
    pulse.seen(100.0)
    assert pulse.deadline is not None


def test_bursts_that_arrive_together_count_as_one() -> None:
    pulse, single = Stale(), Stale()
    for i in range(500):
        single.seen(50.0 * i)
        for _ in range(50):
            pulse.seen(50.0 * i)
    assert pulse.snapshot() == single.snapshot()


@pytest.mark.parametrize("mean", [5.0, 60.0, 3600.0])
def test_a_random_rhythm_earns_a_deadline_it_keeps(mean: float) -> None:
    draw = random.Random(7)
    pulse, at, fired = Stale(), 0.0, 0
    for _ in range(30_000):
        at += draw.expovariate(1 / mean)
        fired += pulse.due(at) is not None
        pulse.seen(at)
    assert fired == 0
    assert pulse.deadline is not None
    assert pulse.deadline - at < 40 * mean + 60


def test_an_outage_does_not_teach_patience_for_ever() -> None:
    pulse, last = steady(10_000)
    before = pulse.deadline
    assert before is not None
    pulse.due(last + 86_400)
    pulse.seen(last + 86_400)
    for i in range(1, 100):
        pulse.seen(last + 86_400 + 5.0 * i)
    assert pulse.deadline is not None
    assert pulse.deadline - (last + 86_400 + 495) < 8 * (before - last)


def test_a_slower_rhythm_becomes_the_usual_one() -> None:
    pulse, at = steady()
    fired = 0
    for _ in range(400):
        at += 60.0
        fired += pulse.due(at) is not None
        pulse.seen(at)
    assert fired <= 2
    assert pulse._gap == pytest.approx(60.0, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=100), st.integers(0, 100))
def test_any_times_leave_it_finite_and_resuming_equals_never_stopping(times: list[float], cut: int) -> None:
    times = [*(5.0 * i for i in range(40)), *(t if not abs(t) > 1e11 or math.isinf(t) else 1e11 for t in times)]
    whole, first = Stale(), Stale()
    expected = [(whole.due(at), whole.seen(at)) for at in times]
    before = [(first.due(at), first.seen(at)) for at in times[:cut]]
    second = Stale()
    second.restore(pickle.loads(pickle.dumps(first.snapshot())))
    assert before + [(second.due(at), second.seen(at)) for at in times[cut:]] == expected
    assert second.snapshot() == whole.snapshot()
    assert math.isfinite(whole._gap)
    assert whole.last is not None
    assert math.isfinite(whole.last)
    assert len(pickle.dumps(whole.snapshot())) <= 128


def test_a_snapshot_of_another_version_is_refused() -> None:
    pulse, _ = steady(30)
    with pytest.raises(ValueError, match="snapshot version 99"):
        pulse.restore({"stale": b"\x63" + pulse.snapshot()["stale"][1:]})


def test_silence_while_the_log_itself_stood_still_proves_nothing() -> None:
    pulse, last = steady()
    deadline = pulse.deadline
    assert deadline is not None
    allowed = deadline - last
    assert pulse.due(last + 3600, resumed=last + 3600) is None
    assert pulse.due(math.nextafter(last + 3600 + allowed, 0), resumed=last + 3600) is None
    found = pulse.due(last + 3601 + allowed, resumed=last + 3600)
    assert found is not None
    assert found.since == last


def test_history_counts_half_when_it_has_grown_to_twice_the_memory() -> None:
    pulse = Stale(StaleSettings(tail=TailSettings(3.0, 1e-7, shape=3.0, scale=1.0, memory=50)))
    for i in range(100):
        pulse.seen(5.0 * i)
    assert pulse._gaps == 99
    pulse.seen(500.0)
    assert pulse._gaps == 50


def test_one_outage_teaches_little_patience_and_a_daily_pause_is_learnt() -> None:
    pulse, at = Stale(), 0.0
    patience = []
    for _ in range(12):
        for _ in range(1440):
            at += 60.0
            pulse.due(at)
            pulse.seen(at)
        deadline = pulse.deadline
        assert deadline is not None
        patience.append(deadline - at)
        pulse.due(at + 1800.0)
        at += 1800.0
        pulse.seen(at)
    assert patience[1] < 2 * patience[0]
    assert patience[0] < 1800 < patience[-1]
