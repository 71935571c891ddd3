"""The correlator of one ship: anomalies of one situation become one incident."""

from collections import Counter
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from operators.correlate.classify import Situation, classify, shared_by
from operators.correlate.commands import COMMAND, SILENCE, CommandDesk
from operators.correlate.decision import Decision
from operators.correlate.desk import INCIDENT, IncidentDesk
from operators.correlate.former import FORMER
from operators.correlate.incident_state import IncidentState
from operators.correlate.opening import new_incident
from operators.correlate.pending import Pending
from operators.correlate.storm_desk import STORM
from operators.correlate.suppression import remember, reopened
from operators.correlate.waiting_room import PENDING, WaitingRoom
from operators.deadlines import Deadlines
from policy import Policy
from schemas.anomaly import AnomalyEnriched
from schemas.ops import Device, OpsCommand

SNAPSHOT_VERSION: Final = 3


class ShipCorrelator:
    """Takes anomalies, commands and devices in order and gives incident revisions.

    An anomaly joins the active incident that its correlation key or its links lead to (several become
    one); without one it waits with others of its key until min_events of them lie within the window
    (event time), then an incident opens at once. Deadlines (throttled update, end of hold, reopening,
    mutes, silences, storms) run in log time, which is the largest arrival time seen (until a tick says
    that the clock was set back: then what was counted from later counts from there); one at or before T
    fires before the anomaly at T. A situation keeps the terms of policy under which it began; everything
    else of a new policy holds at once. State: the active incidents, those resolved within
    suppression_ttl_s, what waits, the ids of those resolved before, by key, for seven days (of each at most
    policy.correlate.max_open_incidents), silences, the topology, commands of seven days. counts holds
    what was dropped, by reason.
    """

    def __init__(self, ship_id: str, policy: Policy) -> None:
        self.ship_id = ship_id
        self._policy = policy.correlate
        self._whole_policy = policy
        self._dedup = timedelta(seconds=self._policy.dedup_ttl_s)
        self._deadlines: Deadlines[str] = Deadlines()
        self.counts: Counter[str] = Counter()
        self._desk = IncidentDesk(ship_id, policy, self._deadlines, self.counts)
        self._commands = CommandDesk(self._desk, self._deadlines)
        self._waiting = WaitingRoom(self._policy.max_open_incidents, self._deadlines, self.counts)
        self._now: datetime | None = None

    def advance(self, at: datetime) -> Iterator[Decision]:
        """Let log time reach `at`: serve every deadline up to then, earliest first."""
        if self._now is not None and at < self._now:
            return
        self._now = at
        for due, name in self._deadlines.due(at):
            yield from self._serve(name, due)

    def tick(self, at: datetime) -> Iterator[Decision]:
        """Log time is `at`; a tick before the last one says that the clock was set back (see LogClock)."""
        if self._now is not None and at < self._now:
            self._now = at
            self._desk.rewind(at)
            self._waiting.rewind(at)
        yield from self.advance(at)

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
            for state in self._desk.board.fired_by(anomaly.source):
                self._desk.clear(state, anomaly.source, now)
            self._waiting.clear(anomaly)
            return
        device = self._desk.muting.topology.device(anomaly.device_id)
        situation = classify(anomaly, self._whole_policy, device.device_type if device is not None else None)
        found = yield from self._found(situation, now)
        if found is None:
            yield from self._gather(situation, anomaly, now)
        elif self._desk.lifecycle.is_too_old(found, now):
            yield from self._succeed(situation, found, anomaly, now)
        else:
            yield from self._join(found, situation, anomaly, now)

    def _found(self, situation: Situation, now: datetime) -> Generator[Decision, None, IncidentState | None]:
        """The active incident that a situation's key and links lead to; where there are several they are merged."""
        found = self._desk.board.active_for(situation)
        if len(found) > 1:
            yield from self._desk.merging.merge(found, shared_by(situation), now)
        return found[0] if found else None

    def _join(
        self, state: IncidentState, situation: Situation, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        """The anomaly joins an incident, and so does what waited for company under its key."""
        waited = self._waiting.pop(situation.key)
        for each in waited.in_order() if waited is not None else ():
            yield from self._absorb(state, situation, each, now)
        yield from self._absorb(state, situation, anomaly, now)
        if waited is not None:
            self._desk.lead(state, waited.situation(situation))
            self._let_go(state, waited, now)

    def _absorb(
        self, state: IncidentState, situation: Situation, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        duplicate = remember(state, anomaly, now, self._dedup)
        if duplicate is not None:
            yield Decision(duplicate, None)
        is_duplicate = duplicate is not None
        yield from self._desk.absorb(state, situation, anomaly, now, is_duplicate=is_duplicate)

    def _let_go(self, state: IncidentState, pending: Pending, now: datetime) -> None:
        """What had fallen quiet while it waited has cleared."""
        for source in sorted(pending.over):
            self._desk.clear(state, source, now)

    def _gather(self, situation: Situation, anomaly: AnomalyEnriched, now: datetime) -> Iterator[Decision]:
        pending = self._waiting.add(situation, anomaly, now)
        if pending.count < pending.terms.min_events:
            return
        if self._desk.board.active_count >= self._policy.max_open_incidents:
            self.counts["incident_cap"] += 1
            return
        self._waiting.pop(situation.key)
        anomalies, situation = pending.in_order(), pending.situation(situation)
        closed = self._desk.board.of_key(situation.key)
        if closed is not None and not self._desk.lifecycle.is_too_old(closed, now):
            state = closed
            ttl = timedelta(seconds=self._policy.suppression_ttl_s)
            yield Decision(reopened(closed, anomaly, now, ttl), None)
        else:
            after = closed.id if closed is not None else self._desk.former.of(situation.key)
            state = new_incident(self.ship_id, situation, anomalies, now, after=after)
        yield from self._begin(state, situation, anomalies, now)
        self._let_go(state, pending, now)
        yield from self._found(situation, now)

    def _begin(
        self, state: IncidentState, situation: Situation, anomalies: list[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        for each in anomalies:
            remember(state, each, now, self._dedup)
        yield from self._desk.begin(state, situation, anomalies, now)

    def _succeed(
        self, situation: Situation, old: IncidentState, anomaly: AnomalyEnriched, now: datetime
    ) -> Iterator[Decision]:
        new = new_incident(self.ship_id, situation, [anomaly], now, after=old.id)
        yield from self._desk.merging.hand_over(old, new, now)
        yield from self._begin(new, situation, [anomaly], now)

    def _serve(self, name: str, due: datetime) -> Iterator[Decision]:
        kind, bar, key = name.partition("|")
        if kind + bar == STORM:
            yield from self._desk.storms.check(key, due)
        elif kind + bar == INCIDENT:
            state = self._desk.board.get(key)
            if state is not None:
                yield from self._desk.serve(state, due)
        elif kind + bar == PENDING:
            self._waiting.pop(key)
        elif kind + bar in (COMMAND, SILENCE):
            self._commands.serve(due)
        elif kind + bar == FORMER:
            self._desk.former.serve(due)

    def take_counts(self) -> Counter[str]:
        """What was dropped since this was last asked, by reason; of incidents and of the inventory."""
        out = self.counts + self._desk.muting.topology.counts
        self.counts.clear()
        self._desk.muting.topology.counts.clear()
        return out

    @property
    def is_empty(self) -> bool:
        """Nothing is open, remembered, waiting or known of this ship."""
        return not len(self._waiting) and self._desk.is_empty and self._commands.is_empty

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "now": self._now,
            "desk": self._desk.snapshot(),
            "commands": self._commands.snapshot(),
            "pending": self._waiting.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then behaves as if it had never stopped."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"correlate: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self._now = state["now"]
        self._desk.restore(state["desk"])
        self._commands.restore(state["commands"])
        self._waiting.restore(state["pending"])
