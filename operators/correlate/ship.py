"""The correlator of one ship: anomalies of one situation become one incident."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from operators.correlate.classify import Situation, classify
from operators.correlate.commands import CommandDesk
from operators.correlate.decision import Decision
from operators.correlate.desk import INCIDENT, STORM, IncidentDesk
from operators.correlate.incident_state import IncidentState
from operators.correlate.pending import Pending
from operators.correlate.suppression import remember, reopened
from operators.deadlines import Deadlines
from policy import Policy
from schemas.anomaly import AnomalyEnriched
from schemas.ops import Device, OpsCommand

SNAPSHOT_VERSION = 2
PENDING = "pending|"


class ShipCorrelator:
    """Takes anomalies, commands and devices in order and gives incident revisions.

    An anomaly joins the active incident that its correlation key or its links lead to (several become
    one); without one it waits with others of its key until min_events of them lie within the window
    (event time), then an incident opens at once. Deadlines (throttled update, end of hold, reopening,
    mutes, storms) run in log time, which is the largest arrival time seen; one at or before T fires
    before the anomaly at T. State: the active incidents, those resolved within suppression_ttl_s,
    what waits, silences, the topology; capped by policy.correlate.max_open_incidents. counts holds what
    was dropped, by reason.
    """

    def __init__(self, ship_id: str, policy: Policy) -> None:
        self.ship_id = ship_id
        self._policy = policy.correlate
        self._whole_policy = policy
        self._deadlines: Deadlines[str] = Deadlines()
        self._desk = IncidentDesk(ship_id, policy, self._deadlines)
        self._commands = CommandDesk(self._desk)
        self._pending: dict[str, Pending] = {}
        self._keys_of: dict[str, set[str]] = {}
        self._now: datetime | None = None
        self.counts: Counter[str] = Counter()

    def advance(self, at: datetime) -> Iterator[Decision]:
        """Let log time reach `at`: serve every deadline up to then, earliest first."""
        if self._now is not None and at < self._now:
            return
        self._now = at
        for due, name in self._deadlines.due(at):
            yield from self._serve(name, due)

    def apply(self, command: OpsCommand, at: datetime) -> Iterator[Decision]:
        """Carry out a command."""
        yield from self.advance(at)
        yield from self._commands.apply(command, self._now or at)

    def learn(self, device: Device) -> None:
        """Take in an entry of the device inventory."""
        self._desk.muting.topology.apply(device)

    def take(self, anomaly: AnomalyEnriched, at: datetime) -> Iterator[Decision]:
        """Take one anomaly that was found at log time `at`."""
        yield from self.advance(at)
        now = self._now or at
        if anomaly.state == "cleared":
            self._clear(anomaly, now)
            return
        device = self._desk.muting.topology.device(anomaly.device_id)
        situation = classify(anomaly, self._whole_policy, device.device_type if device is not None else None)
        self._keys_of.setdefault(anomaly.source, set()).add(situation.key)
        found = self._desk.board.active_for(situation)
        if len(found) > 1:
            yield from self._desk.merge(found, ", ".join(situation.links), now)
        if found and self._desk.lifecycle.is_too_old(found[0], now):
            yield from self._succeed(situation, found[0], anomaly, now)
        elif found:
            yield from self._absorb(found[0], situation, anomaly, now)
        else:
            yield from self._gather(situation, anomaly, now)

    def _absorb(
        self, state: IncidentState, situation: Situation, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        duplicate = remember(state, anomaly, now, timedelta(seconds=self._policy.dedup_ttl_s))
        if duplicate is not None:
            yield Decision(duplicate, None)
        state.keys.add(situation.key)
        state.links.update(situation.links)
        is_duplicate = duplicate is not None
        yield from self._desk.lifecycle.absorb(state, situation, anomaly, now, is_duplicate=is_duplicate)
        self._desk.changed(state)
        yield from self._desk.review(state, now)
        yield from self._desk.inhibit(state, now)

    def _gather(self, situation: Situation, anomaly: AnomalyEnriched, now: datetime) -> Iterator[Decision]:
        key = situation.key
        pending = self._pending.setdefault(key, Pending(situation.terms))
        pending.add(anomaly, now)
        if pending.count < pending.terms.min_events:
            self._deadlines.set(PENDING + key, pending.expires_at())
            return
        if not self._has_room():
            self.counts["incident_cap"] += 1
            self._deadlines.set(PENDING + key, pending.expires_at())
            return
        del self._pending[key]
        self._deadlines.set(PENDING + key, None)
        anomalies = pending.in_order()
        closed = self._desk.board.of_key(key)
        if closed is not None and not self._desk.lifecycle.is_too_old(closed, now):
            state = closed
            suppressed = reopened(closed, anomaly, now, timedelta(seconds=self._policy.suppression_ttl_s))
            yield Decision(suppressed, None)
        else:
            situation = situation._replace(terms=pending.terms)
            state = self._desk.lifecycle.new(self.ship_id, situation, anomalies, now, after=closed)
        yield from self._begin(state, situation, anomalies, now)
        for source in sorted(pending.over):
            self._desk.lifecycle.clear(state, source, now)
        self._desk.changed(state)

    def _begin(
        self, state: IncidentState, situation: Situation, anomalies: list[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        for each in anomalies:
            remember(state, each, now, timedelta(seconds=self._policy.dedup_ttl_s))
        yield from self._desk.begin(state, situation, anomalies, now)

    def _succeed(
        self, situation: Situation, old: IncidentState, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        new = self._desk.lifecycle.new(self.ship_id, situation, [anomaly], now, after=old)
        yield from self._desk.hand_over(old, new, now)
        yield from self._begin(new, situation, [anomaly], now)

    def _has_room(self) -> bool:
        return self._desk.board.active_count < self._policy.max_open_incidents

    def _clear(self, anomaly: AnomalyEnriched, now: datetime) -> None:
        """What has cleared may be part of several situations, and of others than it would be now."""
        for key in sorted(self._keys_of.pop(anomaly.source, ())):
            state = self._desk.board.of_key(key)
            if state is not None and state.active:
                self._desk.lifecycle.clear(state, anomaly.source, now)
                self._desk.changed(state)
            pending = self._pending.get(key)
            if pending is not None:
                pending.clear(anomaly)

    def _serve(self, name: str, due: datetime) -> Iterator[Decision]:
        kind, _, key = name.partition("|")
        if kind + "|" == STORM:
            yield from self._desk.check_storm(due)
        elif kind + "|" == INCIDENT:
            yield from self._serve_incident(key, due)
        elif (pending := self._pending.get(key)) is not None:
            if pending.expires_at() <= due:
                self._forget([key], self._pending.pop(key).sources)
            else:
                self._deadlines.set(name, pending.expires_at())

    def _serve_incident(self, incident_id: str, due: datetime) -> Iterator[Decision]:
        state = self._desk.board.get(incident_id)
        if state is None:
            return
        firing, keys = set(state.firing), set(state.keys)
        yield from self._desk.serve(state, due)
        if not state.active:
            self._forget(keys, firing)

    def _forget(self, keys: "list[str] | set[str]", sources: set[str]) -> None:
        """These keys no longer wait for these sources to clear."""
        for source in sources:
            waiting = self._keys_of.get(source, set())
            waiting.difference_update(keys)
            if not waiting:
                self._keys_of.pop(source, None)

    @property
    def is_empty(self) -> bool:
        """Nothing is open, remembered, waiting or known of this ship."""
        return not self._pending and self._desk.is_empty and self._commands.is_empty

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "now": self._now,
            "desk": self._desk.snapshot(),
            "commands": self._commands.snapshot(),
            "pending": {key: pending.snapshot() for key, pending in self._pending.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then behaves as if it had never stopped."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"correlate: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self._now = state["now"]
        self._desk.restore(state["desk"])
        self._commands.restore(state["commands"])
        self._pending = {key: Pending.restored(saved) for key, saved in state["pending"].items()}
        for key, pending in self._pending.items():
            self._deadlines.set(PENDING + key, pending.expires_at())
        for keys, sources in self._sources():
            for source in sources:
                self._keys_of.setdefault(source, set()).update(keys)

    def _sources(self) -> Iterator[tuple[set[str], set[str]]]:
        for state in self._desk.board:
            yield state.keys, set(state.firing)
        for key, pending in self._pending.items():
            yield {key}, pending.sources
