import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.excursion import CLEARED, FIRED, Direction, Excursion, ExcursionSettings
from operators.detect.tail import TailSettings

TAIL = TailSettings(level=5.0, risk=1e-4)


def judge(samples: float = 5000.0, **changes: Any) -> Excursion:
    made = Excursion(ExcursionSettings(tail=TAIL)._replace(**changes))
    made.tail.samples = samples
    return made


def feed(machine: Excursion, us: list[float]) -> list[int]:
    return [machine.update(float(i), u) for i, u in enumerate(us)]


def bound_of_third() -> float:
    machine = judge(5003.0)
    return machine.tail.bound()


def test_it_fires_at_the_third_in_a_row_and_clears_at_the_third_calm() -> None:
    assert feed(judge(), [0, 50, 50, 50, 50, 1, 1, 1, 1]) == [0, 0, 0, FIRED, 0, 0, 0, CLEARED, 0]


@pytest.mark.parametrize("us", [[50.0, 50.0, 0.0, 50.0, 50.0], [50.0, 50.0, -50.0, -50.0, 50.0, 50.0, -50.0]])
def test_a_gap_or_another_side_begins_anew(us: list[float]) -> None:
    assert set(feed(judge(), us)) == {0}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_score_is_a_half_exactly_at_the_bound(sign: float) -> None:
    bound = bound_of_third()
    at, under = judge(), judge()
    assert feed(at, [sign * 99, sign * 99, sign * bound])[-1] == FIRED
    assert at.score() == 0.5
    assert feed(under, [sign * 99, sign * 99, sign * math.nextafter(bound, 0)])[-1] == 0
    assert under.score() <= 0.5
    assert feed(judge(), [sign * 99] * 3)[-1] == FIRED


def test_only_the_watched_direction_fires() -> None:
    sides: dict[Direction, list[int]] = {"up": [1], "down": [-1], "both": [1, -1]}
    for direction, signs in sides.items():
        for sign in (1, -1):
            fired = FIRED in feed(judge(direction=direction), [50.0 * sign] * 5)
            assert fired == (sign in signs), (direction, sign)


def test_a_firing_series_clears_under_its_clear_level_not_under_the_bound() -> None:
    machine = judge()
    feed(machine, [50.0] * 3)
    over, below = 0.51 * machine.bound, 0.49 * machine.bound
    assert feed(machine, [over] * 10) == [0] * 10
    assert feed(machine, [below] * 3) == [0, 0, CLEARED]


def test_what_it_has_seen_before_does_not_fire() -> None:
    machine = judge()
    height = 0.9 * bound_of_third()
    for _ in range(20):
        assert set(feed(machine, [height] * 5 + [0.0] * 500)) == {0}
    assert machine.tail.peaks == 20
    assert machine.tail.bound() > height


def test_a_fault_raises_the_bound_but_never_blinds() -> None:
    machine = judge(2000.0)
    before = machine.tail.bound()
    feed(machine, [1e9] * 5 + [0.0] * 10)
    assert before < machine.tail.bound() < 4 * before
    assert FIRED in feed(machine, [1e9] * 5)


def test_more_samples_in_a_row_are_asked_for_when_told() -> None:
    for hold in (1, 2, 5):
        assert feed(judge(hold=hold), [50.0] * 6).index(FIRED) == hold - 1


@given(st.lists(st.floats(-40, 40), max_size=300), st.integers(0, 300), st.integers(1, 4))
def test_packing_keeps_every_bit(us: list[float], cut: int, hold: int) -> None:
    whole, first = judge(hold=hold), judge(hold=hold)
    expected = feed(whole, us)
    before = feed(first, us[:cut])
    second = judge(hold=hold)
    second.unpack(first.pack())
    after = [second.update(float(i), u) for i, u in enumerate(us[cut:], cut)]
    assert before + after == expected
    assert second.pack() == whole.pack()


def test_it_agrees_with_the_plain_definition() -> None:
    draw = random.Random(5)
    us = [draw.gauss(0, 6) for _ in range(4000)]
    machine = judge()
    for i, u in enumerate(us):
        before = machine.firing
        bound = machine.bound if before else None
        change = machine.update(float(i), u)
        last = us[max(0, i - 2) : i + 1]
        one_side = len(last) == 3 and (min(last) >= 2.5 or max(last) <= -2.5)
        held = min(abs(each) for each in last) if one_side else 0.0
        if not before:
            assert (change == FIRED) == (held >= machine.tail.bound() and held > 0.0)
        assert machine.score() == pytest.approx(
            held / (held + (bound or machine.bound if machine.firing else machine.tail.bound()))
        )
