import pickle
from array import array
from math import isfinite

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from operators.detect.finding import Finding
from operators.detect.record_surprise import FILTER_SAMPLES, RecordSurprise
from operators.detect.records import Records
from operators.detect.views import VIEWS, Views
from tests.support.plain_views import PlainViews

Floats = NDArray[np.float64]
START_S = 1_400_000_000.0
EVERY = array("d", [float("-inf"), *[0.0] * 22])
"""Limits that let no sample pass: its views are always given."""

LOOSE = {"risk": 30.0, "min_size": 0.05, "min_samples": 100, "min_history_s": 0.0}


def noise(count: int, seed: int = 1) -> list[float]:
    return [float(value) for value in 50.0 + 2.0 * np.random.default_rng(seed).standard_normal(count)]


def run(machine: RecordSurprise, values: list[float], start: int = 0) -> list[Finding | None]:
    return [machine.update(START_S + 60.0 * i, value) for i, value in enumerate(values, start)]


def states(found: list[Finding | None]) -> list[tuple[int, str]]:
    return [(i, finding.state) for i, finding in enumerate(found) if finding]


def test_a_shift_of_thirty_deviations_fires_once_at_its_first_sample_and_clears_when_it_is_the_new_normal() -> None:
    shifted = [value + 60.0 for value in noise(400, 2)]
    found = states(run(RecordSurprise(), [*noise(10_000), *shifted]))
    assert [state for _, state in found] == ["firing", "cleared"]
    assert found[0][0] == 10_000
    assert 10_000 + FILTER_SAMPLES <= found[1][0] < 10_400


def test_noise_alone_does_not_fire() -> None:
    assert states(run(RecordSurprise(), noise(10_000, 3))) == []


def test_the_finding_says_value_range_history_bound_and_since_when() -> None:
    machine = RecordSurprise()
    run(machine, noise(10_000))
    finding = machine.update(START_S + 600_000.0, 500.0)
    assert finding is not None
    assert finding.score == machine.score > 0.5
    assert finding.expected == pytest.approx(50.0, abs=20.0)
    assert finding.lower is not None
    assert finding.upper is not None
    assert 40.0 < finding.lower < 45.0
    assert 55.0 < finding.upper < 60.0
    for part in ("500 is new", "beyond the range", "of the last", "samples", "bound", "since 2014-05-20"):
        assert part in finding.msg


def test_the_score_is_half_where_firing_begins_and_less_where_it_does_not() -> None:
    machine = RecordSurprise(**LOOSE)  # type: ignore[arg-type]
    draw = np.random.default_rng(4)
    fired = 0
    for i, value in enumerate(draw.standard_t(3.0, 5000)):
        finding = machine.update(START_S + 60.0 * i, 500.0 if i == 4000 else float(value))
        assert 0.0 <= machine.score <= 1.0
        if finding is not None and finding.state == "firing":
            fired += 1
            assert machine.score >= 0.5
        elif not machine.firing:
            assert machine.score < 0.5
    assert fired > 0


def test_nothing_fires_before_enough_samples() -> None:
    assert states(run(RecordSurprise(min_samples=600), [*noise(599), 1e9])) == []


@given(cut=st.integers(0, 700), seed=st.integers(0, 50))
def test_resuming_equals_never_stopping(cut: int, seed: int) -> None:
    values = [*noise(450, seed), 300.0, 310.0, *noise(250, seed + 1)]
    whole = RecordSurprise(**LOOSE)  # type: ignore[arg-type]
    expected = run(whole, values)
    first, second = RecordSurprise(**LOOSE), RecordSurprise(**LOOSE)  # type: ignore[arg-type]
    before = run(first, values[:cut])
    saved = pickle.loads(pickle.dumps(first.snapshot()))
    run(first, [1e9] * 3, cut)
    second.restore(saved)
    assert before + run(second, values[cut:], cut) == expected
    assert second.snapshot() == whole.snapshot()


def test_a_snapshot_is_small() -> None:
    machine = RecordSurprise()
    run(machine, noise(12_000))
    assert len(pickle.dumps(machine.snapshot())) <= 22_000


def test_a_snapshot_of_another_shape_is_refused() -> None:
    machine = RecordSurprise()
    state = machine.snapshot()
    state["views"]["numbers"] = b"\0" * 8
    with pytest.raises(ValueError, match="1 numbers and 552 visits, expected 802 and 552"):
        machine.restore(state)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_no_value_whatever_breaks_the_score(values: list[float]) -> None:
    machine = RecordSurprise(min_samples=10)
    run(machine, [*noise(60), *values, *noise(60, 2)])
    assert 0.0 <= machine.score <= 1.0
    assert isfinite(machine.raw_score(START_S + 1e6, 1.0))


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=160), st.sampled_from([60.0, 300.0, 7200.0, 43_200.0]))
def test_views_are_those_of_the_batch_formulas(values: list[float], step: float) -> None:
    views = Views()
    x = np.array(values)
    at: Floats = START_S + step * np.arange(len(x), dtype=np.float64)
    got = np.array([views.update(float(t), float(value), EVERY) for t, value in zip(at, x, strict=True)])
    log_x = np.sign(x) * np.log1p(np.abs(x))
    rest = np.abs(np.diff(log_x, prepend=log_x[0]))
    week, hours, day = (
        residual(at, x, 604_800.0, 1800.0),
        residual(at, x, 604_800.0, 3600.0),
        residual(at, x, 86_400.0, 1800.0),
    )
    change = np.array([x[i] - x[i - 20] if i >= 20 else 0.0 for i in range(len(x))])
    expected = [x, log_x, trailing(log_x, 20), change, week, trailing(week, 20), hours, trailing(day, 20)]
    for view, column in enumerate(expected):
        np.testing.assert_allclose(got[:, view], column, rtol=1e-9, atol=1e-6, err_msg=VIEWS[view].name)
    np.testing.assert_allclose(got[:, 9], trailing(rest, 50), rtol=1e-9, atol=1e-9)
    for i in range(10, len(x), 17):
        past = log_x[max(0, i - 100) : i]
        if past.std() > 0.1:
            raw = (log_x[i] - past.mean()) / past.std()
            assert abs(got[i, 10]) <= abs(raw) * (1 + 1e-6) + 1e-6
            assert got[i, 10] * raw >= 0.0


ANY = st.one_of(st.floats(-1e4, 1e4), st.floats(allow_nan=False, allow_infinity=False), st.integers(-2, 2).map(float))


@given(
    st.lists(ANY, min_size=1, max_size=250),
    st.sampled_from([5.0, 300.0, 1800.0, 7200.0, 43_200.0, -900.0]),
    st.integers(0, 250),
)
def test_views_are_those_of_the_readable_version_to_the_last_bit(values: list[float], step: float, cut: int) -> None:
    plain, views = PlainViews(), Views()
    for i, value in enumerate([*noise(130), *values]):
        expected, got = plain.update(START_S + step * i, value), views.update(START_S + step * i, value, EVERY)
        assert got is not None
        assert [x.hex() for x in got] == [x.hex() for x in expected]
        assert views.mean == plain.mean
        if i == cut:
            resumed = Views()
            resumed.restore(views.snapshot())
            views = resumed


@given(st.integers(0, 1000), st.sampled_from([60.0, 1800.0]))
def test_only_samples_whose_views_break_no_record_are_passed_over(seed: int, step: float) -> None:
    every, some, views, plain = Records(VIEWS, first_epoch=150), Records(VIEWS, first_epoch=150), Views(), PlainViews()
    draw, passed = np.random.default_rng(seed), 0
    for i, value in enumerate(draw.standard_t(3.0, 500)):
        expected = every.update(plain.update(START_S + step * i, float(value)))
        values = views.update(START_S + step * i, float(value), some.limits)
        if values is None:
            passed += 1
            assert expected == 0.0
        else:
            some.pass_to(views.seen - 1)
            assert some.update(values) == expected
            assert (some.size, some.broken, some.before) == (every.size, every.broken, every.before)
    some.pass_to(views.seen)
    assert some.snapshot() == every.snapshot()
    assert passed > 100


def trailing(x: Floats, width: int) -> list[float]:
    return [float(x[max(0, i - width + 1) : i + 1].mean()) for i in range(len(x))]


def residual(
    at: Floats,
    x: Floats,
    period: float,
    width: float,
) -> Floats:
    """The difference to the weighted mean of the samples before in the same bin, the recurrence unrolled."""
    out = np.zeros(len(x))
    bins = (at % period // width).astype(int)
    for i in range(len(x)):
        past = x[:i][bins[:i] == bins[i]]
        if len(past):
            gains = [max(1.0 / (k + 1), 0.3) for k in range(len(past))]
            weights = [gain * float(np.prod([1 - later for later in gains[k + 1 :]])) for k, gain in enumerate(gains)]
            out[i] = x[i] - float(np.dot(weights, past))
    return out
