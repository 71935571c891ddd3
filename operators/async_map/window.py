"""The items an async_map holds: which to call for next, which may go on. Pure: no clock, threads or I/O."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from operators.async_map.limits import AsyncLimits

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(eq=False, slots=True)
class Held(Generic[In, Out]):
    """One item on its way: until when it may stay, from when it may be called for, how often that failed.

    most: items that its next call may have; halved when a call fails, so that one bad item does not
    take others with it for ever. Once done, out is what goes on.
    """

    item: In
    deadline: float
    most: int
    not_before: float = 0.0
    failures: int = 0
    error: Exception | None = None
    done: bool = False
    out: Out | None = None


class Window(Generic[In, Out]):
    """Items from arrival until they go on, each exactly once.

    now is monotonic seconds, never falling. on_failure(item, error) gives what goes on in place of
    an answer. State: the items held; pending() is what a snapshot needs.
    """

    def __init__(self, limits: AsyncLimits, on_failure: Callable[[In, Exception], Out], *, ordered: bool) -> None:
        self._limits = limits
        self._on_failure = on_failure
        self._ordered = ordered
        self._held: dict[int, Held[In, Out]] = {}
        self._waiting: deque[Held[In, Out]] = deque()
        self._deadlines: deque[Held[In, Out]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, item: In, now: float) -> None:
        """Take an item that needs a call."""
        held: Held[In, Out] = Held(item, now + self._limits.timeout_s, self._limits.max_batch)
        self._held[id(held)] = held
        self._waiting.append(held)
        self._deadlines.append(held)

    def add_answered(self, item: In, out: Out) -> None:
        """Take an item whose answer is known; it passes in its place."""
        held: Held[In, Out] = Held(item, 0.0, 0, done=True, out=out)
        self._held[id(held)] = held

    def take(self, now: float) -> list[Held[In, Out]]:
        """The items of the next call, oldest first; empty when none is due, or the oldest may still get company."""
        if self._lingers(now):
            return []
        batch: list[Held[In, Out]] = []
        later: list[Held[In, Out]] = []
        size = self._limits.max_batch
        while self._waiting and len(batch) < size:
            held = self._waiting.popleft()
            if held.done:
                continue
            if held.not_before > now or (batch and held.most <= len(batch)):
                later.append(held)
                continue
            batch.append(held)
            size = min(size, held.most)
        self._waiting.extendleft(reversed(later))
        return batch

    def _lingers(self, now: float) -> bool:
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        if not self._waiting or len(self._waiting) >= self._limits.max_batch:
            return False
        oldest = self._waiting[0]
        return not oldest.failures and now - (oldest.deadline - self._limits.timeout_s) < self._limits.linger_s

    def answer(self, batch: Sequence[Held[In, Out]], outs: Sequence[Out]) -> None:
        """A call has answered: one output an item, in their order; what timed out meanwhile is left alone."""
        for held, out in zip(batch, outs, strict=True):
            if not held.done:
                held.done, held.out = True, out

    def fail(self, batch: Sequence[Held[In, Out]], error: Exception, now: float) -> None:
        """A call has failed: its items are called for again, in two halves, or go on without an answer."""
        limits = self._limits
        for held in batch:
            if held.done:
                continue
            held.failures += 1
            held.error = error
            held.most = max(1, (len(batch) + 1) // 2)
            held.not_before = now + limits.backoff_s * 2 ** (held.failures - 1)
            if held.failures > limits.retries or held.not_before >= held.deadline:
                self._give_up(held, error)
            else:
                self._waiting.append(held)

    def expire(self, now: float) -> None:
        """Let go on without an answer what has been here for its time."""
        deadlines = self._deadlines
        while deadlines and (deadlines[0].done or deadlines[0].deadline <= now):
            held = deadlines.popleft()
            if not held.done:
                text = f"no answer within {self._limits.timeout_s * 1000:g} ms"
                self._give_up(held, TimeoutError(text if held.error is None else f"{text}, before that: {held.error}"))

    def drain(self) -> list[Out]:
        """What may go on now: in the order of arrival up to the first without an answer, or all that have one."""
        ready: list[int] = []
        for key, held in self._held.items():
            if held.done:
                ready.append(key)
            elif self._ordered:
                break
        return [cast(Out, self._held.pop(key).out) for key in ready]

    def pending(self) -> list[In]:
        """Every item held, in the order of arrival."""
        return [held.item for held in self._held.values()]

    def _give_up(self, held: Held[In, Out], error: Exception) -> None:
        held.out = self._on_failure(held.item, error)
        held.done = True
