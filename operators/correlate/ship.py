"""The correlator of one ship: anomalies of one situation become one incident."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from operators.correlate.classify import Situation, classify
from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState
from operators.correlate.lifecycle import Lifecycle
from operators.correlate.pending import Pending
from operators.correlate.suppression import remember, reopened
from operators.deadlines import Deadlines
from policy import Policy
from schemas.anomaly import AnomalyEnriched

SNAPSHOT_VERSION = 1


class ShipCorrelator:
    """Takes anomalies in order and gives incident revisions.

    An anomaly joins the active incident of its correlation key; without one it waits with others
    of its key until min_events of them lie within the window (event time), then an incident opens
    at once. Deadlines (throttled update, end of hold, suppression) run in log time,
    which is the largest arrival time seen; one at or before T fires before the anomaly at T.
    State: the active incidents, those resolved within suppression_ttl_s, and what waits; capped by
    policy.correlate.max_open_incidents. counts holds what was dropped, by reason.
    """

    def __init__(self, ship_id: str, policy: Policy) -> None:
        self.ship_id = ship_id
        self._policy = policy.correlate
        self._whole_policy = policy
        self._lifecycle = Lifecycle(policy.correlate)
        self._incidents: dict[str, IncidentState] = {}
        self._pending: dict[str, Pending] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._keys_of: dict[str, set[str]] = {}
        self._now: datetime | None = None
        self.counts: Counter[str] = Counter()

    def advance(self, at: datetime) -> Iterator[Decision]:
        """Let log time reach `at`: serve every deadline up to then, earliest first."""
        if self._now is not None and at < self._now:
            return
        self._now = at
        for due, key in self._deadlines.due(at):
            yield from self._serve(key, due)

    def take(self, anomaly: AnomalyEnriched, at: datetime) -> Iterator[Decision]:
        """Take one anomaly that was found at log time `at`."""
        yield from self.advance(at)
        now = self._now or at
        if anomaly.state == "cleared":
            self._clear(anomaly, now)
            return
        situation = classify(anomaly, self._whole_policy)
        key = situation.key
        state = self._incidents.get(key)
        self._keys_of.setdefault(anomaly.source, set()).add(key)
        if state is not None and state.active and not self._lifecycle.is_too_old(state, now):
            yield from self._absorb(state, anomaly, now)
        elif state is not None and state.active:
            yield from self._succeed(key, situation, state, anomaly, now)
        else:
            yield from self._gather(key, situation, state, anomaly, now)
        self._schedule(key)

    def _absorb(self, state: IncidentState, anomaly: AnomalyEnriched, now: datetime) -> Iterator[Decision]:
        duplicate = remember(state, anomaly, now, timedelta(seconds=self._policy.dedup_ttl_s))
        if duplicate is not None:
            yield Decision(duplicate, None)
        yield from self._lifecycle.absorb(state, anomaly, now, is_duplicate=duplicate is not None)

    def _gather(
        self, key: str, situation: Situation, closed: IncidentState | None, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        pending = self._pending.setdefault(key, Pending(timedelta(seconds=situation.policy.window_s)))
        pending.add(anomaly, now)
        if pending.count < situation.policy.min_events:
            return
        if not self._has_room():
            self.counts["incident_cap"] += 1
            return
        del self._pending[key]
        anomalies = pending.in_order()
        ttl = timedelta(seconds=self._policy.dedup_ttl_s)
        if closed is not None and not self._lifecycle.is_too_old(closed, now):
            state = closed
            suppressed = reopened(closed, anomaly, now, timedelta(seconds=self._policy.suppression_ttl_s))
            yield Decision(suppressed, None)
            decisions = self._lifecycle.reopen(closed, anomalies, now)
        else:
            state = self._lifecycle.new(self.ship_id, situation, anomalies, now, after=closed)
            decisions = self._lifecycle.open(state, anomalies, now)
        self._incidents[key] = state
        for each in anomalies:
            remember(state, each, now, ttl)
        yield from decisions
        for source in sorted(pending.over):
            self._lifecycle.clear(state, source, now)

    def _succeed(
        self, key: str, situation: Situation, old: IncidentState, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        new = self._lifecycle.new(self.ship_id, situation, [anomaly], now, after=old)
        yield from self._lifecycle.hand_over(old, new, now)
        self._incidents[key] = new
        remember(new, anomaly, now, timedelta(seconds=self._policy.dedup_ttl_s))
        yield from self._lifecycle.open(new, [anomaly], now)

    def _has_room(self) -> bool:
        return sum(state.active for state in self._incidents.values()) < self._policy.max_open_incidents

    def _clear(self, anomaly: AnomalyEnriched, now: datetime) -> None:
        """What has cleared may be part of several situations, and of others than it would be now."""
        for key in sorted(self._keys_of.pop(anomaly.source, ())):
            state = self._incidents.get(key)
            if state is not None and state.active:
                self._lifecycle.clear(state, anomaly.source, now)
            pending = self._pending.get(key)
            if pending is not None:
                pending.clear(anomaly)
            self._schedule(key)

    def _serve(self, key: str, due: datetime) -> Iterator[Decision]:
        pending = self._pending.get(key)
        if pending is not None and pending.expires_at() <= due:
            self._forget(key, self._pending.pop(key).sources)
        state = self._incidents.get(key)
        if state is not None:
            firing = set(state.firing)
            yield from self._lifecycle.serve(state, due)
            if not state.active:
                self._forget(key, firing)
            if self._lifecycle.is_over(state, due):
                del self._incidents[key]
        self._schedule(key)

    def _forget(self, key: str, sources: set[str]) -> None:
        """The key no longer waits for these sources to clear."""
        for source in sources:
            keys = self._keys_of.get(source, set())
            keys.discard(key)
            if not keys:
                self._keys_of.pop(source, None)

    @property
    def is_empty(self) -> bool:
        """Nothing is open, remembered or waiting."""
        return not self._incidents and not self._pending

    def _schedule(self, key: str) -> None:
        due: list[datetime] = []
        state = self._incidents.get(key)
        if state is not None:
            due.append(self._lifecycle.next_deadline(state))
        pending = self._pending.get(key)
        if pending is not None:
            due.append(pending.expires_at())
        self._deadlines.set(key, min(due, default=None))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "now": self._now,
            "incidents": {key: state.snapshot() for key, state in self._incidents.items()},
            "pending": {key: pending.snapshot() for key, pending in self._pending.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then behaves as if it had never stopped."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"correlate: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self._now = state["now"]
        self._incidents = {key: IncidentState.restored(saved) for key, saved in state["incidents"].items()}
        self._pending = {key: Pending.restored(saved) for key, saved in state["pending"].items()}
        for key, sources in self._sources():
            for source in sources:
                self._keys_of.setdefault(source, set()).add(key)
            self._schedule(key)

    def _sources(self) -> Iterator[tuple[str, set[str]]]:
        for key, state in self._incidents.items():
            yield key, set(state.firing)
        for key, pending in self._pending.items():
            yield key, pending.sources
