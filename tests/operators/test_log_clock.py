from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from operators.log_clock import BACK, LogClock
from tests.support.make import START, at


def ticks(clock: LogClock, *seconds: float) -> list[float]:
    return [second for second in seconds if clock.reaches(at(second))]


def test_arrivals_a_little_out_of_order_move_nothing_back() -> None:
    clock = LogClock()
    assert ticks(clock, 100, 100.2, 99.9, 100.9, 99.5, 101.0, 100.5, 101.5) == [100, 101.0]
    assert clock.reached == at(101)


def test_one_message_from_the_past_moves_nothing() -> None:
    clock = LogClock()
    assert ticks(clock, 100, 40, 100.5, 55, 100.9, 41, 101) == [100, 101]


def test_a_clock_that_jumped_ahead_and_back_is_followed_both_times() -> None:
    clock = LogClock()
    assert ticks(clock, 100, 3700, 101, 105, 110.9, 111, 111.5, 112) == [100, 3700, 111, 112]


def test_a_second_step_back_begins_to_count_anew() -> None:
    clock = LogClock()
    assert ticks(clock, 5000, 3000, 3009, 1000, 1009, 1010, 1011) == [5000, 1010, 1011]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(0, 60))
def test_it_goes_on_from_its_state_as_if_never_stopped(seconds: list[float], cut: int) -> None:
    whole, first = LogClock(), LogClock()
    expected = [whole.reaches(at(second)) for second in seconds]
    got = [first.reaches(at(second)) for second in seconds[:cut]]
    again = LogClock(first.reached, first.back_since)
    assert got + [again.reaches(at(second)) for second in seconds[cut:]] == expected


@given(st.lists(st.floats(0, 60), min_size=1, max_size=60))
def test_log_time_goes_back_only_after_arrivals_have_gone_on_below_it(seconds: list[float]) -> None:
    clock = LogClock()
    latest: datetime = START
    for place, second in enumerate(seconds):
        if clock.reaches(at(second)):
            if place and at(second) < latest - timedelta(seconds=1):
                below = [at(each) for each in seconds[:place] if at(each) < latest]
                assert at(second) - min(below) >= BACK
            latest = at(second)
