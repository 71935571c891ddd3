"""The step: holds items while calls are made for them in threads, and is woken when answers are due."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic

import bytewax.operators as op
import structlog
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.async_map.calls import CallThreads
from operators.async_map.limits import AsyncLimits
from operators.async_map.window import Held, In, Out, Window
from operators.stored_state import reading_state

SNAPSHOT_VERSION: Final = 1

log = structlog.get_logger()


class AsyncLogic(StatefulBatchLogic[In, Out, dict[str, Any]], Generic[In, Out]):
    """One key of async_map. State: the items held, as save gives them; resume calls for them anew."""

    def __init__(
        self,
        call: Callable[[list[In]], Sequence[Out]],
        on_failure: Callable[[In, Exception], Out],
        limits: AsyncLimits,
        threads: CallThreads,
        *,
        ordered: bool = True,
        at_once: Callable[[In], Out | None] = lambda item: None,
        save: Callable[[In], Any] = lambda item: item,
        load: Callable[[Any], In] = lambda saved: saved,
        on_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        resume: dict[str, Any] | None = None,
    ) -> None:
        self._call = call
        self._limits = limits
        self._threads = threads
        self._at_once = at_once
        self._save = save
        self._on_end = on_end
        self._clock = clock
        self._window: Window[In, Out] = Window(limits, on_failure, ordered=ordered)
        self._answers: deque[tuple[list[Held[In, Out]], Sequence[Out] | Exception]] = deque()
        self._answered = threading.Event()
        if resume is not None:
            with reading_state("async_map"):
                self._restore(resume, load)

    def _restore(self, state: dict[str, Any], load: Callable[[Any], In]) -> None:
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"snapshot version {state['v']}, expected {SNAPSHOT_VERSION}")
        for saved in state["pending"]:
            self._window.add(load(saved), self._clock())

    def on_batch(self, values: list[In]) -> tuple[Iterable[Out], bool]:
        """Take items; blocks while as many are held as capacity allows (at most until the oldest times out)."""
        out: list[Out] = []
        for item in values:
            while len(self._window) >= self._limits.capacity:
                self._step(out, wait_s=self._limits.poll_s)
            answer = self._at_once(item)
            if answer is None:
                self._window.add(item, self._clock())
            else:
                self._window.add_answered(item, answer)
        self._step(out)
        return out, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Out], bool]:
        """Let go on what was answered or has timed out, and call for more."""
        out: list[Out] = []
        self._step(out)
        return out, StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Out], bool]:
        """Wait for the rest, at most the timeout; then end."""
        out: list[Out] = []
        self._step(out)
        while len(self._window):
            self._step(out, wait_s=self._limits.poll_s)
        if self._threads.wait_idle(0):
            self._on_end()
        else:
            # What went on must not wait for calls that nobody waits for; the process does, for a moment.
            threading.Thread(target=self._end_later, name="async-map-end").start()
        return out, StatefulBatchLogic.RETAIN

    def _end_later(self) -> None:
        if not self._threads.wait_idle(self._limits.timeout_s):
            log.warning("calls_left_behind", say="calls were still running when the flow ended; they are abandoned")
        self._on_end()

    def notify_at(self) -> datetime | None:
        """Soon, while anything is held; else never."""
        return datetime.now(UTC) + timedelta(seconds=self._limits.poll_s) if len(self._window) else None

    def snapshot(self) -> dict[str, Any]:
        """The items held, in the order of arrival."""
        return {"v": SNAPSHOT_VERSION, "pending": [self._save(item) for item in self._window.pending()]}

    def _step(self, out: list[Out], wait_s: float = 0.0) -> None:
        if wait_s and not self._answers:
            self._answered.wait(wait_s)
        self._answered.clear()
        while self._answers:
            batch, answer = self._answers.popleft()
            if isinstance(answer, Exception):
                self._window.fail(batch, answer, self._clock())
            else:
                self._window.answer(batch, answer)
        now = self._clock()
        self._window.expire(now)
        self._start_calls(now)
        out += self._window.drain()

    def _start_calls(self, now: float) -> None:
        while self._threads.reserve():
            batch = self._window.take(now)
            if not batch:
                self._threads.release()
                return
            self._threads.start(lambda batch=batch: self._run(batch))  # type: ignore[misc]

    def _run(self, batch: list[Held[In, Out]]) -> None:
        """One call, in its thread."""
        answer: Sequence[Out] | Exception
        try:
            answer = self._call([held.item for held in batch])
            if len(answer) != len(batch):
                answer = ValueError(f"the call gave {len(answer)} answers to {len(batch)} items, expected one each")
        except Exception as error:  # noqa: BLE001 - handed to on_failure, which says it in the item's place
            answer = error
        self._answers.append((batch, answer))
        self._answered.set()


@operator
def async_map(
    step_id: str,
    up: KeyedStream[In],
    call: Callable[[list[In]], Sequence[Out]],
    *,
    on_failure: Callable[[In, Exception], Out],
    limits: AsyncLimits,
    ordered: bool = True,
    at_once: Callable[[In], Out | None] = lambda item: None,
    save: Callable[[In], Any] = lambda item: item,
    load: Callable[[Any], In] = lambda saved: saved,
    on_end: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> KeyedStream[Out]:
    """Give each item the answer of a call made off the worker thread; one output an item, within the timeout.

    call takes a list of items and gives one output for each, in their order. It runs in threads,
    several at once, so it must be thread-safe, and it should end by itself within the timeout.
    While a thread is free an item is called for after limits.linger_s (at once unless told), else
    what waits goes into one call. at_once(item) gives the output where no call is needed, None where it is; such an
    item passes in its place. It runs on the worker: it must not block.

    When a call raises, or gives another number of outputs, its items are called for again after a
    back-off, in two halves; when retries or time are used up on_failure(item, error) gives what
    goes on, error being the last one or a TimeoutError. on_failure must not raise.

    ordered: outputs leave in the order of the inputs, key by key; else as they come. Once a key
    holds as many items as limits.capacity, the step blocks its worker, and so the source, until one
    goes on. An answer leaves at most poll_s after it came (1 ms: P50 0.6 ms, P99 0.9 ms, 3 % of a
    core while anything is held and nothing at all otherwise; measured on 2 cores, Bytewax 0.21.1).

    State: the items held, as save makes them; kept until they go on. After a crash they are called
    for again: calls are made at least once, outputs take effect once, as Bytewax state does. Keys
    keep their (empty) state for ever: use a fixed, small number of them. At the end of the input
    the step waits until everything has gone on, then calls on_end, once a key, when no call runs any
    more or after another timeout (then in a thread that the process waits for).

    Raises:
        ValueError: for a snapshot of another version.
    """
    threads = CallThreads(limits.workers, f"{step_id}-call")

    def build(resume: dict[str, Any] | None) -> AsyncLogic[In, Out]:
        return AsyncLogic(
            call,
            on_failure,
            limits,
            threads,
            ordered=ordered,
            at_once=at_once,
            save=save,
            load=load,
            on_end=on_end,
            clock=clock,
            resume=resume,
        )

    return op.stateful_batch("calls", up, build)
