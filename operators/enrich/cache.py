"""Answers that may be used again: bounded, thread-safe, good for a time by the clock and in event time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from operators.enrich.asks import Key

MISSING: Final = object()


class TtlCache:
    """Answers of one kind by key, the longest unused dropped beyond size.

    An answer is good for ttl_s seconds after it came, and for times of asking at most ttl_s from
    the one it was given for, so a backlog of days read in seconds does not get last week's answer.
    With ttl_s 0 nothing is kept.
    """

    def __init__(self, ttl_s: float, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl_s = ttl_s
        self._near = timedelta(seconds=ttl_s)
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Key, tuple[datetime, float, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key, at: datetime) -> Any:
        """The answer, or MISSING."""
        with self._lock:
            found = self._answers.get(key)
            if found is None or abs(at - found[0]) > self._near or self._clock() - found[1] > self.ttl_s:
                return MISSING
            self._answers.move_to_end(key)
            return found[2]

    def put(self, key: Key, at: datetime, answer: Any) -> None:
        """Keep an answer, in place of any other for the key."""
        if not self.ttl_s:
            return
        with self._lock:
            self._answers[key] = (at, self._clock(), answer)
            self._answers.move_to_end(key)
            if len(self._answers) > self._size:
                self._answers.popitem(last=False)
