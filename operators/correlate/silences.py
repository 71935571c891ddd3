"""The active silences of a ship: which one mutes a subject, and when they end."""

import heapq
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from operators.correlate.matcher_index import MatcherIndex
from operators.correlate.matchers import Subject
from operators.correlate.silence import Silence, SilenceError, parse_silence
from policy.maintenance import SilenceLimits

__all__ = ["Silence", "SilenceError", "Silences", "parse_silence"]

SNAPSHOT_VERSION = 1


class Silences:
    """The silences of one ship, found through an index and not by trying each.

    State: at most limits.max_active silences, each until it expires or is removed. compared: how
    many silences were compared with a subject so far.
    """

    def __init__(self, limits: SilenceLimits) -> None:
        self._limits = limits
        self._all: dict[str, Silence] = {}
        self._index = MatcherIndex()
        self._ends: list[tuple[datetime, str]] = []
        self.compared = 0

    def __len__(self) -> int:
        return len(self._all)

    def get(self, silence_id: str) -> Silence | None:
        """The silence of this id, None when there is none (any more)."""
        return self._all.get(silence_id)

    def all(self) -> list[Silence]:
        """Every silence, by id."""
        return [self._all[silence_id] for silence_id in sorted(self._all)]

    def add(self, silence: Silence) -> None:
        """Keep a silence.

        Raises:
            SilenceError: when the id is taken or there are as many as policy allows.
        """
        if silence.silence_id in self._all:
            raise SilenceError(f"silence {silence.silence_id} exists already; remove it first or send another id")
        if len(self._all) >= self._limits.max_active:
            raise SilenceError(
                f"there are {len(self._all)} silences already, which is all that maintenance.silences.max_active "
                "allows; remove some that are no longer needed"
            )
        self._keep(silence)

    def remove(self, silence_id: str, at: datetime) -> Silence | None:
        """Take a silence away: as it was with its end at `at`; None when there is none that still lasts."""
        silence = self._all.get(silence_id)
        if silence is None or silence.expires_at <= at:
            return None
        self._drop(silence)
        return replace(silence, expires_at=at)

    def find(self, subject: Subject, at: datetime) -> Silence | None:
        """The silence that mutes the subject, None when none does; of several the one that lasts longest."""
        found: Silence | None = None
        for silence_id in self._index.candidates(subject):
            silence = self._all[silence_id]
            self.compared += 1
            if not silence.is_active(at) or not silence.matchers.hold(subject):
                continue
            if found is None or (silence.expires_at, silence_id) > (found.expires_at, found.silence_id):
                found = silence
        return found

    def match(self, subject: Subject, at: datetime) -> Silence | None:
        """As find, and the hit is counted on the silence that is returned."""
        found = self.find(subject, at)
        return self.hit(found.silence_id, at) if found is not None else None

    def hit(self, silence_id: str, at: datetime) -> Silence | None:
        """Count one more thing that the silence mutes; the silence, None when there is none of this id."""
        silence = self._all.get(silence_id)
        if silence is None:
            return None
        hit = replace(silence, hits=silence.hits + 1, last_hit_at=at)
        self._all[silence_id] = hit
        return hit

    @property
    def deadline(self) -> datetime | None:
        """When the next silence expires."""
        while self._ends and self._is_over(*self._ends[0]):
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def due(self, at: datetime) -> list[Silence]:
        """Those that expired until `at` (included), earliest first; they are forgotten."""
        out = []
        while (end := self.deadline) is not None and end <= at:
            silence = self._all[heapq.heappop(self._ends)[1]]
            self._drop(silence)
            out.append(silence)
        return out

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"v": SNAPSHOT_VERSION, "silences": [silence.snapshot() for silence in self.all()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot, also one with more silences than policy allows by now."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"silences: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self._all, self._index, self._ends = {}, MatcherIndex(), []
        for saved in state["silences"]:
            self._keep(Silence.restored(saved))

    def _keep(self, silence: Silence) -> None:
        self._all[silence.silence_id] = silence
        self._index.add(silence.silence_id, silence.matchers)
        heapq.heappush(self._ends, (silence.expires_at, silence.silence_id))
        if len(self._ends) > 2 * len(self._all) + 100:
            self._ends = sorted((each.expires_at, each.silence_id) for each in self._all.values())

    def _drop(self, silence: Silence) -> None:
        """Out of the table and the index; its end leaves the heap when it surfaces."""
        del self._all[silence.silence_id]
        self._index.remove(silence.silence_id, silence.matchers)

    def _is_over(self, end: datetime, silence_id: str) -> bool:
        silence = self._all.get(silence_id)
        return silence is None or silence.expires_at != end
