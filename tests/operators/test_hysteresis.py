import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.hysteresis import Change, Hysteresis

Votes = list[tuple[float, bool]]


def make() -> Hysteresis:
    return Hysteresis(min_hold_s=60, flap_count=3, flap_window_s=600, calm_s=300)


def feed(machine: Hysteresis, votes: Votes) -> list[tuple[float, str]]:
    return [(at, change.state) for at, vote in votes for change in machine.update(at, vote)]


def test_it_fires_at_once_and_clears_after_the_hold() -> None:
    assert feed(make(), [(0, False), (5, True), (6, False), (64, False), (65, False)]) == [
        (5, "firing"),
        (65, "cleared"),
    ]
    assert feed(make(), [(5, True), (500, True), (501, False)]) == [(5, "firing"), (501, "cleared")]


def test_the_deadline_serves_a_series_that_says_no_more() -> None:
    machine = make()
    feed(machine, [(5, True), (6, False)])
    assert machine.deadline == 65
    assert machine.due(64.9) is None
    assert machine.due(70) == Change("cleared", 5, 1)
    assert machine.deadline is None


def test_a_deadline_before_a_vote_comes_first() -> None:
    assert feed(make(), [(0, True), (1, False), (100, True)]) == [(0, "firing"), (100, "cleared"), (100, "firing")]


def test_more_than_n_firings_within_t_are_one_flapping_anomaly() -> None:
    votes = [(float(t), t % 100 < 10) for t in range(0, 1500, 10)]
    assert feed(make(), votes) == [
        (0, "firing"), (60, "cleared"), (100, "firing"), (160, "cleared"), (200, "firing"), (260, "cleared"),
        (300, "flapping"),
    ]  # fmt: skip


def test_flapping_ends_after_a_calm() -> None:
    machine = make()
    feed(machine, [(float(t), t % 100 < 10) for t in range(0, 1010, 10)])
    assert machine.state == "flapping"
    since = machine._since
    feed(machine, [(1020.0, False)])
    assert machine.deadline == 1320
    assert machine.due(1325) == Change("cleared", since, 4)


def test_slow_changes_never_flap() -> None:
    votes = [(float(t), t % 400 < 200) for t in range(0, 20_000, 50)]
    assert {state for _, state in feed(make(), votes)} == {"firing", "cleared"}


votes_of = st.lists(st.tuples(st.floats(0, 200), st.booleans()), max_size=120)


@given(votes_of)
def test_changes_alternate_hold_and_are_few(steps: Votes) -> None:
    machine, now, opened = make(), 0.0, -math.inf
    state, firings = "cleared", []
    for step, vote in steps:
        now += step
        for change in machine.update(now, vote):
            assert change.state != state
            if change.state == "cleared":
                assert now - opened >= 60
            elif state == "cleared":
                opened = now
                firings.append(now)
            else:
                assert (state, change.state) == ("firing", "flapping")
            state = change.state
        assert machine.firing == (state != "cleared")
        assert not vote or machine.firing
    for at in firings:
        assert sum(at <= each < at + 600 for each in firings) <= 600 / 60


@given(votes_of, st.integers(0, 120), st.sampled_from([math.nan, math.inf]))
def test_resuming_equals_never_stopping_and_bad_times_are_none(steps: Votes, cut: int, bad: float) -> None:
    votes = [(sum(step for step, _ in steps[: i + 1]), vote) for i, (_, vote) in enumerate(steps)]
    whole, first, second = make(), make(), make()
    expected = feed(whole, votes)
    before = feed(first, votes[:cut])
    assert first.update(bad, True) == []
    second.restore(pickle.loads(pickle.dumps(first.snapshot())))
    assert before + feed(second, votes[cut:]) == expected
    assert second.snapshot() == whole.snapshot()
    assert len(second.snapshot()["starts"]) <= 4


def test_time_that_goes_back_is_no_time() -> None:
    machine = make()
    feed(machine, [(1000, True), (1001, False), (0, True), (0, False)])
    assert machine.deadline == 1060


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="snapshot version 99"):
        make().restore({**make().snapshot(), "v": 99})
