"""async_map: order, capacity, time, retries, recovery: pure rules, then the step, then real flows."""

import pickle
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream
from bytewax.testing import TestingSink, TestingSource, run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.async_map import AsyncLimits, AsyncLogic, async_map
from operators.async_map.calls import CallThreads
from operators.async_map.window import Held, Window

LIMITS = AsyncLimits(timeout_s=1.0, capacity=8, workers=2, max_batch=3, retries=1, backoff_s=0.05)


def failed(item: int, error: Exception) -> str:
    return f"{item}! {error}"


# the rules, without threads or time


class Machine:
    """A Window driven by hand: calls in progress end, fail, or never end, as the test says."""

    def __init__(self, limits: AsyncLimits, ordered: bool) -> None:
        self.limits = limits
        self.window: Window[int, str] = Window(limits, failed, ordered=ordered)
        self.now = 0.0
        self.running: list[list[Held[int, str]]] = []
        self.given: list[int] = []
        self.out: list[str] = []

    def add(self, known: bool) -> None:
        if len(self.window) < self.limits.capacity:
            item = len(self.given)
            self.given.append(item)
            if known:
                self.window.add_answered(item, f"{item}=")
            else:
                self.window.add(item, self.now)

    def step(self) -> None:
        self.window.expire(self.now)
        while len(self.running) < self.limits.workers and (batch := self.window.take(self.now)):
            assert 1 <= len(batch) <= self.limits.max_batch
            self.running.append(batch)
        self.out += self.window.drain()

    def end_call(self, which: int, ok: bool) -> None:
        if self.running:
            batch = self.running.pop(which % len(self.running))
            if ok:
                self.window.answer(batch, [f"{held.item}=" for held in batch])
            else:
                self.window.fail(batch, RuntimeError("refused"), self.now)


def items_of(out: list[str]) -> list[int]:
    return [int(text.split("=")[0].split("!")[0]) for text in out]


ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.booleans()),
    st.tuples(st.just("ok"), st.integers(0, 5)),
    st.tuples(st.just("fail"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.06, 0.3, 1.1])),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(ACTIONS, max_size=120),
    st.booleans(),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.05]),
)
def test_nothing_is_lost_doubled_or_late_and_order_is_kept(
    actions: list[tuple[str, Any]],
    ordered: bool,
    capacity: int,
    workers: int,
    max_batch: int,
    retries: int,
    linger_s: float,
) -> None:
    limits = AsyncLimits(1.0, capacity, workers, max_batch, retries, 0.05, linger_s=linger_s)
    machine = Machine(limits, ordered)
    for action, value in actions:
        if action == "add":
            machine.add(value)
        elif action == "wait":
            machine.now += value
        else:
            machine.end_call(value, action == "ok")
        machine.step()
        assert len(machine.window) <= capacity
        assert sorted(items_of(machine.out) + machine.window.pending()) == machine.given
        assert machine.window.pending() == sorted(machine.window.pending())
        calling = [held.item for batch in machine.running for held in batch if not held.done]
        assert len(calling) == len(set(calling)) <= capacity
    machine.now += limits.timeout_s
    machine.step()
    assert len(machine.window) == 0
    assert sorted(items_of(machine.out)) == machine.given
    if ordered:
        assert items_of(machine.out) == machine.given


def test_a_failed_call_is_tried_again_in_halves_so_that_one_bad_item_fails_alone() -> None:
    limits = AsyncLimits(timeout_s=10.0, capacity=16, workers=1, max_batch=8, retries=3, backoff_s=0.1)
    machine = Machine(limits, ordered=True)
    for _ in range(8):
        machine.add(known=False)
    sizes = []
    while len(machine.window):
        machine.step()
        if machine.running:
            sizes.append(len(machine.running[0]))
            machine.end_call(0, ok=all(held.item != 5 for held in machine.running[0]))
        machine.now += 0.1
        machine.step()
    assert machine.out == ["0=", "1=", "2=", "3=", "4=", "5! refused", "6=", "7="]
    assert sizes[0] == 8
    assert min(sizes) == 1


def test_an_item_waits_for_others_until_a_call_is_full_or_it_has_lingered() -> None:
    limits = AsyncLimits(timeout_s=1.0, max_batch=3, retries=1, backoff_s=0.5, linger_s=0.25)
    window: Window[int, str] = Window(limits, failed, ordered=True)

    def taken(now: float) -> list[int]:
        batch = window.take(now)
        if now > 0.5:
            window.answer(batch, [str(held.item) for held in batch])
        else:
            window.fail(batch, RuntimeError("refused"), now)
        return [held.item for held in batch]

    window.add(0, 0.0)
    window.add(1, 0.125)
    assert taken(0.125) == []
    assert taken(0.25) == [0, 1], "the oldest has lingered, the other goes with it"
    for item in (2, 3, 4, 5):
        window.add(item, 0.75)
    assert taken(0.75) == [0], "what failed does not linger again, and goes in halves"
    assert taken(0.75) == [1]
    assert taken(0.75) == [2, 3, 4], "a full call goes at once"
    assert taken(0.75) == []
    assert taken(1.0) == [5]


def test_back_off_doubles_and_ends_with_the_retries() -> None:
    limits = AsyncLimits(timeout_s=10.0, retries=2, backoff_s=0.1)
    machine = Machine(limits, ordered=True)
    machine.add(known=False)
    tried = []
    for millisecond in range(1000):
        machine.now = millisecond / 1000
        machine.step()
        if machine.running:
            tried.append(millisecond)
            machine.end_call(0, ok=False)
    machine.step()
    assert [tried[0], tried[1] - tried[0], tried[2] - tried[1]] == [
        0,
        pytest.approx(100, abs=1),
        pytest.approx(200, abs=1),
    ]
    assert len(tried) == 3
    assert machine.out == ["0! refused"]


def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    machine = Machine(AsyncLimits(timeout_s=0.1, retries=5, backoff_s=0.2), ordered=True)
    machine.add(known=False)
    machine.step()
    machine.end_call(0, ok=False)
    machine.step()
    assert machine.out == ["0! refused"]


def test_an_answer_that_comes_after_the_time_limit_changes_nothing() -> None:
    machine = Machine(LIMITS, ordered=True)
    machine.add(known=False)
    machine.step()
    machine.now = 1.0
    machine.step()
    machine.end_call(0, ok=True)
    machine.step()
    assert machine.out == ["0! no answer within 1000 ms"]


# the step, with threads


@pytest.fixture
def logic() -> Iterator[Callable[..., AsyncLogic[int, str]]]:
    made: list[CallThreads] = []

    def build(
        call: Callable[[list[int]], list[str]], limits: AsyncLimits = LIMITS, **known: Any
    ) -> AsyncLogic[int, str]:
        made.append(CallThreads(limits.workers, "test-call"))
        return AsyncLogic(call, failed, limits, made[-1], **known)

    yield build
    assert all(threads.wait_idle(5.0) for threads in made)


Build = Callable[..., AsyncLogic[int, str]]


def texts(items: list[int]) -> list[str]:
    return [f"{item}=" for item in items]


def test_what_needs_no_call_passes_in_its_place(logic: Build) -> None:
    gate = threading.Event()

    def call(items: list[int]) -> list[str]:
        gate.wait(5)
        return texts(items)

    step = logic(call, AsyncLimits(timeout_s=5), at_once=lambda n: None if n == 2 else f"{n}")
    assert list(step.on_batch([0, 1, 2, 3, 4])[0]) == ["0", "1"]
    assert step.notify_at() is not None
    gate.set()
    assert list(step.on_eof()[0]) == ["2=", "3", "4"]
    assert step.notify_at() is None


def test_unordered_lets_pass_what_is_ready(logic: Build) -> None:
    gate = threading.Event()

    def call(items: list[int]) -> list[str]:
        gate.wait(5)
        return texts(items)

    step = logic(call, AsyncLimits(timeout_s=5), ordered=False, at_once=lambda n: None if n == 2 else f"{n}")
    assert list(step.on_batch([0, 1, 2, 3, 4])[0]) == ["0", "1", "3", "4"]
    gate.set()
    assert list(step.on_eof()[0]) == ["2="]


def test_a_call_that_hangs_costs_no_more_than_the_timeout_and_blocks_nobody_for_ever(logic: Build) -> None:
    gate = threading.Event()

    def call(items: list[int]) -> list[str]:
        gate.wait(30)
        return texts(items)

    limits = AsyncLimits(timeout_s=0.1, capacity=4, workers=1, retries=0)
    step = logic(call, limits)
    begun = time.monotonic()
    out = list(step.on_batch(list(range(10)))[0]) + list(step.on_eof()[0])
    assert items_of(out) == list(range(10))
    assert all("no answer within 100 ms" in text for text in out)
    # ten items, four at a time: three rounds, and as long again for the call that still hangs
    assert time.monotonic() - begun < 0.1 * 4 + 4.0
    gate.set()


def test_a_full_step_blocks_its_source_until_there_is_room(logic: Build) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def call(items: list[int]) -> list[str]:
        with lock:
            running[0] += len(items)
            most[0] = max(most[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= len(items)
        return texts(items)

    step = logic(call, AsyncLimits(timeout_s=5, capacity=6, workers=4, max_batch=2))
    out = list(step.on_batch(list(range(100)))[0])
    assert 100 - len(out) <= 6
    assert most[0] <= 6
    assert most[0] > 2
    out += step.on_eof()[0]
    assert out == texts(list(range(100)))


def test_a_call_that_gives_too_few_answers_fails_and_says_so(logic: Build) -> None:
    step = logic(lambda items: texts(items)[:-1], AsyncLimits(timeout_s=5, retries=0))
    step.on_batch([])
    (first, *_) = list(step.on_batch([1, 2])[0]) + list(step.on_eof()[0])
    assert first == "1! the call gave 1 answers to 2 items, expected one each"


def test_a_snapshot_holds_what_has_not_gone_on_and_resuming_calls_for_it_again(logic: Build) -> None:
    gate = threading.Event()

    def stuck(items: list[int]) -> list[str]:
        gate.wait(5)
        return texts(items)

    step = logic(stuck, AsyncLimits(timeout_s=5), at_once=lambda n: f"{n}" if n % 2 else None, save=str)
    assert list(step.on_batch([1, 2, 3, 4])[0]) == ["1"]
    saved = pickle.loads(pickle.dumps(step.snapshot()))
    assert saved == {"v": 1, "pending": ["2", "3", "4"]}
    gate.set()
    step.on_eof()
    assert saved == {"v": 1, "pending": ["2", "3", "4"]}
    again = logic(texts, AsyncLimits(timeout_s=5), load=int, resume=saved)
    assert list(again.on_batch([5])[0]) + list(again.on_eof()[0]) == texts([2, 3, 4, 5])
    assert again.snapshot() == {"v": 1, "pending": []}


def test_a_snapshot_of_another_version_is_refused(logic: Build) -> None:
    with pytest.raises(ValueError, match="snapshot version 9, expected 1"):
        logic(texts, resume={"v": 9, "pending": []})


def test_at_the_end_of_the_input_it_waits_for_calls_and_says_that_it_ended(logic: Build) -> None:
    ended: list[bool] = []

    def call(items: list[int]) -> list[str]:
        time.sleep(0.05)
        assert not ended
        return texts(items)

    step = logic(call, on_end=lambda: ended.append(True))
    step.on_batch([1])
    assert list(step.on_eof()[0]) == ["1="]
    assert ended == [True]


# real flows


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 20), st.integers(1, 4))
def test_a_flow_gives_one_output_an_input_key_by_key(seed: int, ordered: bool, batch: int, workers: int) -> None:
    dice = random.Random(seed)
    numbers = [(dice.choice("abc"), n) for n in range(120)]

    def call(items: list[int]) -> list[int]:
        time.sleep(random.random() * 0.004)
        if random.random() < 0.2:
            raise RuntimeError("bad luck")
        return [item * 10 for item in items]

    out: list[tuple[str, int]] = []
    flow = Dataflow("numbers")
    source = op.input("in", flow, TestingSource(numbers, batch_size=batch))
    limits = AsyncLimits(timeout_s=10, capacity=16, workers=workers, max_batch=5, retries=30, backoff_s=0.0)
    mapped = async_map(
        "map",
        source,
        call,
        on_failure=lambda n, error: -n,
        limits=limits,
        ordered=ordered,
        at_once=lambda n: n * 10 if n % 3 == 0 else None,
    )
    op.output("out", mapped, TestingSink(out))
    run_main(flow)
    expected = [(key, n * 10) for key, n in numbers]
    assert Counter(out) == Counter(expected)
    if ordered:
        for name in "abc":
            assert [n for key, n in out if key == name] == [n for key, n in expected if key == name]


def test_answers_leave_promptly_without_more_input() -> None:
    """The step wakes itself: answers do not wait for the next item or the end."""
    left: list[tuple[float, int]] = []
    done: dict[int, float] = {}

    def call(items: list[int]) -> list[int]:
        time.sleep(0.01)
        done.update(dict.fromkeys(items, time.monotonic()))
        return items

    def note(item: tuple[str, int]) -> tuple[str, int]:
        left.append((time.monotonic(), item[1]))
        return item

    flow = Dataflow("prompt")
    pause = TestingSource.PAUSE(timedelta(milliseconds=30))
    script: list[Any] = [each for n in range(20) for each in (("k", n), pause)]
    source: KeyedStream[int] = op.input("in", flow, TestingSource(script))
    mapped = async_map("map", source, call, on_failure=lambda n, error: -n, limits=AsyncLimits())
    op.output("out", op.map("note", mapped, note), TestingSink([]))
    run_main(flow)
    waits = sorted(at - done[n] for at, n in left)
    assert len(waits) == 20
    # the next item comes 30 ms later: half of the answers did not wait for it
    assert waits[10] < 0.025, waits


def start(folder: Path, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.operators.async_flow", str(folder), str(count)])


@pytest.mark.slow
def test_after_kill_9_nothing_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    count, dice = 2500, random.Random(4)
    out = tmp_path / "out"
    kills = 0
    for _ in range(50):
        process = start(tmp_path, count)
        size = out.stat().st_size if out.exists() else 0
        until = size + dice.randint(500, 3000)
        deadline = time.monotonic() + 60
        while process.poll() is None and (not out.exists() or out.stat().st_size < until) and kills < 5:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if kills == 5:
            assert process.wait(60) == 0
            break
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills >= 3
    assert process.returncode == 0
    assert out.read_text().split() == [str(n * 10) for n in range(count)]
    calls = Counter((tmp_path / "calls").read_text().split())
    assert len(calls) == count
    assert max(calls.values()) > 1, "no call was pending at any kill: the test shows nothing"
