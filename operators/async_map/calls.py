"""Calls in threads of their own, a bounded number at once."""

import threading
import time
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.005


class CallThreads:
    """Runs each call in a daemon thread; at most so many at once, by whichever worker.

    A call cannot be stopped from outside: one that never returns keeps its place for ever, but
    never keeps the process from ending.
    """

    def __init__(self, workers: int, name: str) -> None:
        self._places = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._running = 0
        self._name = name

    def reserve(self) -> bool:
        """Take a place if one is free; start or release must follow."""
        return self._places.acquire(blocking=False)

    def release(self) -> None:
        """Give back a place that was not needed."""
        self._places.release()

    def start(self, work: Callable[[], None]) -> None:
        """Run work, which must not raise, on the place reserved."""
        with self._lock:
            self._running += 1

        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._running -= 1
                self._places.release()

        threading.Thread(target=run, name=self._name, daemon=True).start()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call runs; True when that came in time."""
        deadline = time.monotonic() + timeout_s
        while self._running and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        return not self._running
