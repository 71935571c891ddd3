import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.circuit_breaker import BreakerLimits, CircuitBreaker

LIMITS = BreakerLimits(failures=3, open_s=10.0, slow_s=0.5)


def fail(breaker: CircuitBreaker, now: float, reason: str = "away") -> None:
    breaker.failed(breaker.begin(now), now, reason)


def test_it_opens_after_failures_in_a_row_and_says_the_last_reason() -> None:
    breaker = CircuitBreaker(LIMITS)
    for number in range(3):
        assert breaker.refuses(number) is None
        fail(breaker, number, f"reason {number}")
    assert breaker.refuses(3.0) == "reason 2"


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = CircuitBreaker(LIMITS)
    for now in range(20):
        fail(breaker, now)
        if now % 2:
            breaker.succeeded(breaker.begin(now), now)
    assert breaker.refuses(20) is None


def test_one_probe_at_a_time_and_only_after_the_pause() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(3):
        fail(breaker, 0.0)
    assert breaker.begin_probe(9.9) is None
    probe = breaker.begin_probe(10.0)
    assert probe is not None
    assert breaker.begin_probe(10.1) is None
    assert breaker.refuses(10.1) == "away"
    breaker.failed(probe, 10.2, "still away")
    assert breaker.refuses(10.3) == "still away"
    assert breaker.begin_probe(20.1) is None
    probe = breaker.begin_probe(20.2)
    assert probe is not None
    breaker.succeeded(probe, 20.3)
    assert breaker.refuses(20.3) is None


def test_what_hangs_counts_as_failed_while_it_hangs_and_only_once() -> None:
    breaker = CircuitBreaker(LIMITS)
    hanging = [breaker.begin(0.0) for _ in range(3)]
    assert breaker.refuses(0.4) is None
    assert breaker.refuses(0.5) == "no answer within 500 ms"
    for number in hanging:
        breaker.failed(number, 3.0, "timed out")
    assert breaker.refuses(3.0) == "no answer within 500 ms"
    assert breaker.begin_probe(10.5) is not None


def test_an_answer_that_comes_too_late_does_not_close_it() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=1, open_s=10, slow_s=0.5))
    late = breaker.begin(0.0)
    assert breaker.refuses(0.6) is not None
    breaker.succeeded(late, 0.7)
    assert breaker.refuses(0.8) is not None


def test_a_probe_that_hangs_leaves_it_open_and_the_next_pause_begins() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=1, open_s=10, slow_s=0.5))
    fail(breaker, 0.0)
    assert breaker.begin_probe(10.0) is not None
    assert breaker.begin_probe(10.6) is None
    assert breaker.begin_probe(20.4) is None
    assert breaker.begin_probe(20.6) is not None


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail"]), st.floats(0, 0.4)), max_size=60), st.integers(1, 5))
def test_closed_means_fewer_failures_in_a_row_than_it_takes(calls: list[tuple[str, float]], failures: int) -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=failures, open_s=1e9, slow_s=0.5))
    now, row, opened = 0.0, 0, False
    for outcome, took in calls:
        if opened:
            break
        number = breaker.begin(now)
        now += took
        if outcome == "ok":
            breaker.succeeded(number, now)
            row = 0
        else:
            breaker.failed(number, now, "x")
            row += 1
        opened = row >= failures
        assert (breaker.refuses(now) is not None) == opened


def test_threads_may_share_it() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=10_000_000))

    def work() -> None:
        for _ in range(2000):
            breaker.failed(breaker.begin(0.0), 0.1, "x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker._failures == 8000
    assert breaker._running == {}


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"open_s": 0}, {"slow_s": -1}])
def test_limits_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*, expected"):
        BreakerLimits(**wrong)  # type: ignore[arg-type]
