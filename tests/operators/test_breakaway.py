import random

import pytest

from operators.detect.breakaway import Breakaway, BreakawaySettings
from operators.detect.excursion import CLEARED, FIRED


def judge(values: list[float], machine: Breakaway | None = None, step: float = 1.0) -> list[int]:
    """Deviations that are their own values, in steps of noise."""
    machine = machine or Breakaway(BreakawaySettings())
    return [machine.update(5.0 * i, value, value, step) for i, value in enumerate(values)]


def test_what_runs_away_fires_and_clears_when_it_is_back() -> None:
    assert judge([0, 0, 7, 12, 18, 20, 1, 1, 1]) == [0, 0, 0, 0, FIRED, 0, 0, 0, CLEARED]


def test_a_jump_to_a_new_level_is_none_however_far() -> None:
    draw = random.Random(1)
    assert set(judge([0.0] * 5 + [40 + draw.gauss(0, 1) for _ in range(300)])) == {0}


def test_two_samples_are_not_enough_nor_is_one_on_the_other_side() -> None:
    assert set(judge([0, 9, 19, 0, -9, -19, 0])) == {0}
    assert set(judge([0, 9, 19, -30, 0])) == {0}


def test_what_creeps_for_long_is_a_new_level() -> None:
    assert set(judge([3 + 0.25 * i for i in range(60)])) == {0}


def test_the_next_must_go_half_as_far_again() -> None:
    machine = Breakaway(BreakawaySettings())
    assert FIRED in judge([0, 10, 18, 26, 0, 0, 0], machine)
    assert machine.bound == pytest.approx(15.0)
    assert FIRED not in judge([0, 10, 18, 26, 0, 0, 0], machine)
    assert FIRED in judge([0, 16, 26, 36, 0, 0, 0], machine)


def test_a_huge_one_does_not_blind() -> None:
    machine = Breakaway(BreakawaySettings())
    judge([0, 1e6, 2e6, 3e6, 0, 0, 0], machine)
    assert machine.bound == pytest.approx(1.5 * 4 * 6)


def test_direction() -> None:
    only_down = BreakawaySettings(direction="down")
    assert FIRED not in judge([0, 10, 18, 26], Breakaway(only_down))
    assert FIRED in judge([0, -10, -18, -26], Breakaway(only_down))


def test_the_score_is_half_at_the_bound() -> None:
    machine = Breakaway(BreakawaySettings())
    judge([0, 6, 6, 6], machine)
    assert machine.score() == pytest.approx(0.5)
    judge([0], machine)
    assert machine.score() == 0.0


@pytest.mark.parametrize("stop", range(1, 9))
def test_resuming_equals_never_stopping(stop: int) -> None:
    values = [0.0, 7, 12, 18, 20, 1, 1, 1, 9, 14]
    whole, first, then = (Breakaway(BreakawaySettings()) for _ in range(3))
    expected = judge(values, whole)
    found = judge(values[:stop], first)
    then.unpack(first.pack())
    found += [then.update(5.0 * i, value, value, 1.0) for i, value in enumerate(values[stop:], stop)]
    assert found == expected
    assert then.pack() == whole.pack()


def test_another_version_is_refused() -> None:
    packed = Breakaway(BreakawaySettings()).pack()
    with pytest.raises(ValueError, match="version 9"):
        Breakaway(BreakawaySettings()).unpack(b"\x09" + packed[1:])
