"""The asyncio loop that talks to NATS beside the dataflow's own threads: one a process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """An asyncio loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="nats-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start work on the loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run work on the loop and wait for its result, from any other thread.

        Raises:
            TimeoutError: when it takes longer than timeout_s; the work is then cancelled.
        """
        future = self.spawn(work)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise

    def soon(self, callback: Callable[[], object]) -> None:
        """Call callback on the loop, from any other thread."""
        self.loop.call_soon_threadsafe(callback)


_shared: Background | None = None
_lock = threading.Lock()


def background() -> Background:
    """The process's one loop, started when it is first needed."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Background()
        return _shared
