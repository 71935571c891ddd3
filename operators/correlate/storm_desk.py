"""The desk for storms: incidents that come too fast are held back as members of one."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState, Mute
from operators.correlate.inhibition import impacts
from operators.correlate.storm import StormWatch
from operators.correlate.storm_incident import storm_incident
from operators.deadlines import Deadlines

if TYPE_CHECKING:
    from operators.correlate.desk import IncidentDesk

STORM: Final = "storm|"


class StormDesk:
    """Opens a storm's incident, takes in what comes with it, and ends it.

    While incidents come, a storm takes in each that nothing else holds back. Once they come slowly, or
    the storm is past its maximum age, it takes in no more: what opens then is told, or makes another
    storm. It ends when fewer than `opened` of its members fire; these are then told on their own. State:
    that of StormWatch; the members carry a mute.
    """

    def __init__(self, desk: "IncidentDesk", deadlines: Deadlines[str]) -> None:
        self._desk = desk
        self._policy = desk.policy.storm
        self._watch = StormWatch(self._policy)
        self._deadlines = deadlines

    def mute(self, state: IncidentState) -> Mute | None:
        """Why an incident that comes now is not told on its own; None without a storm, and of a storm itself."""
        storm = self._watch.incident_id
        if storm is None or state.id in self._watch.storms:
            return None
        return Mute("storm", storm, None, f"one of many in the incident storm {storm}")

    def told(self, state: IncidentState, now: datetime) -> Iterator[Decision]:
        """Count what people were told of; the storm's incident takes in what came with it."""
        mute = self.mute(state)
        if mute is not None and f"storm:{mute.by}" in state.mutes:
            self._watch.opened(state.id, now)
            self._arm(mute.by)
            yield from self._join(state, now)
        elif state.visible and state.id not in self._watch.storms and self._watch.opened(state.id, now):
            yield from self._begin(now)

    def _begin(self, now: datetime) -> Iterator[Decision]:
        desk = self._desk
        recent = [each for name in self._watch.recent if (each := desk.board.get(name)) and each.visible]
        storm = storm_incident(desk.ship_id, desk.policy, recent, now)
        self._watch.incident_id = storm.id
        desk.board.put(storm)
        yield from desk.lifecycle.say(storm, "created", now, f"{len(recent)} incidents opened at once", first=True)
        for each in recent:
            mute = self.mute(each)
            if mute is not None and not each.acknowledged:
                yield from desk.mute(each, mute, now)
                yield from self._join(each, now)
        desk.changed(storm)
        self._arm(storm.id)

    def _arm(self, storm_id: str) -> None:
        """Look at a storm when it may have calmed down, or is past its age."""
        storm, due = self._desk.board.get(storm_id), self._watch.check_at(storm_id)
        if storm is not None and due is not None and storm_id == self._watch.incident_id:
            due = min(due, self._desk.lifecycle.ends_by_age(storm))
        self._deadlines.set(STORM + storm_id, due)

    def _join(self, state: IncidentState, now: datetime) -> Iterator[Decision]:
        storm = self._desk.board.get(self._watch.incident_id or "")
        if storm is None:
            return
        storm.change(anomaly_count=storm.incident.anomaly_count + 1)
        storm.heard_at = now
        for impact in impacts(state, "part of the storm"):
            storm.add_impact(impact, self._desk.policy.max_evidence)
        self._desk.changed(storm)
        yield from self.escalate(state, now)

    def escalate(self, member: IncidentState, now: datetime) -> Iterator[Decision]:
        """A storm is as bad as its worst member."""
        for mute in member.mutes.values():
            storm = self._desk.board.get(mute.by) if mute.kind == "storm" else None
            before, severity = storm.incident.severity if storm else None, member.incident.severity
            if storm is None or before is None or not storm.active or severity.rank <= before.rank:
                continue
            storm.change(severity=severity)
            reason = f"{before} to {severity}: {member.incident.title}"
            yield from self._desk.lifecycle.say(storm, "escalated", now, reason)
            self._desk.changed(storm)

    def check(self, storm_id: str, at: datetime) -> Iterator[Decision]:
        """Let a storm that has calmed down take in no more, and end it when few of its members fire."""
        storm = self._desk.board.get(storm_id)
        if storm is None or not storm.active:
            self.ended(storm_id)
            return
        due = self._watch.check_at(storm_id)
        if due is not None and due > at and not self._desk.lifecycle.is_too_old(storm, at):
            self._arm(storm_id)
            return
        members = self._desk.board.held_by(storm_id)
        firing = sum(1 for state in members if state.firing)
        self._watch.calm_down(storm_id, at)
        if firing >= self._policy.opened:
            self._arm(storm_id)
            return
        self.ended(storm_id)
        reason = f"fewer incidents come; {firing} of {len(members)} still fire and are told on their own"
        yield from self._desk.lifecycle.resolve(storm, at, reason)
        self._desk.changed(storm)
        for state in members:
            state.mutes.pop(f"storm:{storm_id}", None)
            yield from self._desk.review(state, at, is_news=False)

    def ended(self, storm_id: str) -> None:
        """A storm's incident is over, by itself or by hand: it takes in no more."""
        self._watch.end(storm_id)
        self._deadlines.set(STORM + storm_id, None)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`."""
        self._watch.rewind(at)
        for storm_id in self._watch.storms:
            self._arm(storm_id)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return self._watch.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._watch.restore(state)
        for storm_id in self._watch.storms:
            self._arm(storm_id)
