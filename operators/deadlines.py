"""Deadlines in log time, served in the same order whatever the batches were."""

import heapq
from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """At most one deadline a key; due() yields the keys whose time has come, earliest first.

    Ties are served in the order of the keys. Derived state: its owner sets it again after a
    restart. A changed deadline leaves the old heap entry behind until it surfaces, or until these are
    more than half of all.

    >>> from datetime import UTC
    >>> at = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(4)]
    >>> deadlines = Deadlines[str]()
    >>> for key, second in (("b", 1), ("a", 1), ("c", 3)):
    ...     deadlines.set(key, at[second])
    >>> deadlines.set("c", at[2])
    >>> [key for _, key in deadlines.due(at[2])]
    ['a', 'b', 'c']
    """

    def __init__(self) -> None:
        self._at: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []

    def set(self, key: Key, at: datetime | None) -> None:
        """Give a key its deadline, in place of any it had; None takes it away."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._at) + 100:
                self._heap[:] = [(due, known) for known, due in self._at.items()]
                heapq.heapify(self._heap)

    def due(self, now: datetime) -> Iterator[tuple[datetime, Key]]:
        """Yield and forget each deadline not after now; deadlines set meanwhile are served too."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, key = heapq.heappop(heap)
            if self._at.get(key) == at:
                del self._at[key]
                yield at, key
