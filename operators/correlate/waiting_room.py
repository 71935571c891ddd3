"""Everything of one ship that waits for enough company to be an incident."""

from collections import Counter
from datetime import datetime
from typing import Any, Final

from operators.correlate.classify import Situation
from operators.correlate.pending import Pending
from operators.deadlines import Deadlines
from schemas.anomaly import AnomalyEnriched

PENDING: Final = "pending|"


class WaitingRoom:
    """What waits, found by correlation key and by what fired it.

    State: at most max_keys keys with at most 100 anomalies each; beyond that the key longest without
    news gives way, and its anomalies are counted as pending_cap.
    """

    def __init__(self, max_keys: int, deadlines: Deadlines[str], counts: Counter[str]) -> None:
        self._max_keys = max_keys
        self._deadlines = deadlines
        self._counts = counts
        self._by_key: dict[str, Pending] = {}
        self._by_source: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, situation: Situation, anomaly: AnomalyEnriched, now: datetime) -> Pending:
        """Let an anomaly wait with the others of its key."""
        pending = self.pop(situation.key) or Pending(situation.terms)
        pending.add(anomaly, situation.links, now)
        if len(self._by_key) >= self._max_keys:
            dropped = self.pop(next(iter(self._by_key)))
            self._counts["pending_cap"] += len(dropped or ())
        self._keep(situation.key, pending)
        return pending

    def pop(self, key: str) -> Pending | None:
        """Let what waits under a key go."""
        pending = self._by_key.pop(key, None)
        if pending is not None:
            self._deadlines.set(PENDING + key, None)
            self._unfile(key, pending.sources)
        return pending

    def clear(self, cleared: AnomalyEnriched) -> None:
        """What has cleared may wait under several keys, and under others than it would now."""
        for key in sorted(self._by_source.pop(cleared.source, ())):
            self._by_key[key].clear(cleared)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: what waits is forgotten when its window has passed from there."""
        for key, pending in self._by_key.items():
            pending.rewind(at)
            self._deadlines.set(PENDING + key, pending.expires_at())

    def _keep(self, key: str, pending: Pending) -> None:
        self._by_key[key] = pending
        for source in pending.sources:
            self._by_source.setdefault(source, set()).add(key)
        self._deadlines.set(PENDING + key, pending.expires_at())

    def _unfile(self, key: str, sources: set[str]) -> None:
        for source in sources:
            self._by_source[source].discard(key)
            if not self._by_source[source]:
                del self._by_source[source]

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data, the key longest without news first."""
        return {key: pending.snapshot() for key, pending in self._by_key.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        for key, saved in state.items():
            self._keep(key, Pending.restored(saved))
