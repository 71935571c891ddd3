"""The desk where the incidents of one ship are worked on: told, held back, told after all, merged, ended."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from operators.correlate.board import IncidentBoard
from operators.correlate.classify import Situation
from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState, Mute
from operators.correlate.inhibition import Cause, impacts
from operators.correlate.lifecycle import Lifecycle, settle
from operators.correlate.merging import take_over
from operators.correlate.muting import Muting
from operators.correlate.storm import StormWatch
from operators.correlate.storm_incident import storm_incident
from operators.correlate.suppression import held_back
from operators.deadlines import Deadlines
from policy import Policy
from schemas.anomaly import AnomalyEnriched
from schemas.incident import IncidentEvent

STORM = "storm|"
INCIDENT = "incident|"


class IncidentDesk:
    """Does one thing to one incident and everything that follows from it for the others.

    Whoever changes an incident comes here, so that the board, its deadline, and what it inhibits are
    always in step. State: the board's incidents, silences, topology and the storm.
    """

    def __init__(self, ship_id: str, policy: Policy, deadlines: Deadlines[str]) -> None:
        self.ship_id = ship_id
        self.policy = policy.correlate
        self.board = IncidentBoard()
        self.lifecycle = Lifecycle(policy.correlate)
        self.muting = Muting(policy, self.board)
        self._storm = StormWatch(policy.correlate.storm)
        self._deadlines = deadlines

    def begin(
        self, state: IncidentState, situation: Situation, anomalies: Sequence[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        """Open an incident on its first anomalies, or open a resolved one again; held back where there is reason to."""
        again = not state.active
        if again:
            state.change(status="open")
        self.lifecycle.rest_on(state, anomalies, now)
        self.board.put(state)
        causes = self._hold_back(state, now)
        for mute in state.mutes.values():
            yield Decision(held_back(state, mute, now), None)
        step = self.lifecycle.reopen if again else self.lifecycle.open
        yield from step(state, situation, anomalies, now)
        self._list_impact(state, causes, now)
        self.changed(state)
        yield from self._told(state, now)
        yield from self.inhibit(state, now)

    def _hold_back(self, state: IncidentState, now: datetime) -> list[Cause]:
        """Mute a state for every reason there is; gives its causes."""
        mutes, causes = self.muting.reasons(state, now)
        storm = self._storm.incident_id
        if storm is not None and not mutes:
            mutes = [Mute("storm", storm, None, f"one of many in the incident storm {storm}")]
        for mute in mutes:
            state.mutes[f"{mute.kind}:{mute.by}"] = mute
        return causes

    def _list_impact(self, state: IncidentState, causes: Iterable[Cause], now: datetime) -> None:
        limit = self.policy.max_evidence
        for cause in causes:
            above: IncidentState | None = cause.state
            while above is not None:
                # no short cut: every place must be listed
                added = [above.add_impact(impact, limit) for impact in impacts(state, cause.because)]
                if any(added):
                    self.lifecycle.note(above, "impact", now, f"{state.incident.title}: {cause.because}")
                    self.changed(above)
                above = self.muting.cause_above(above)

    def _told(self, state: IncidentState, now: datetime) -> Iterator[Decision]:
        """Count what people were told of; the storm's incident takes in what came with it."""
        if state.visible and self._storm.opened(state.id, now):
            recent = [each for name in self._storm.recent if (each := self.board.get(name)) and each.visible]
            storm = storm_incident(self.ship_id, self.policy, recent, now)
            self._storm.incident_id = storm.id
            self.board.put(storm)
            yield from self.lifecycle.say(storm, "created", now, f"{len(recent)} incidents opened at once", first=True)
            for each in recent:
                if not each.acknowledged:
                    mute = Mute("storm", storm.id, None, f"one of many in the incident storm {storm.id}")
                    yield from self.mute(each, mute, now)
                    self._join_storm(each, now)
            self.changed(storm)
            self._deadlines.set(STORM, self._storm.check_at)
        elif any(mute.kind == "storm" for mute in state.mutes.values()):
            self._storm.opened(state.id, now)
            self._join_storm(state, now)
            self._deadlines.set(STORM, self._storm.check_at)

    def _join_storm(self, state: IncidentState, now: datetime) -> None:
        storm = self.board.get(self._storm.incident_id or "")
        if storm is None:
            return
        storm.change(anomaly_count=storm.incident.anomaly_count + 1)
        storm.heard_at = now
        for impact in impacts(state, "part of the storm"):
            storm.add_impact(impact, self.policy.max_evidence)
        if state.incident.severity.rank > storm.incident.severity.rank:
            storm.change(severity=state.incident.severity)
        self.changed(storm)

    def inhibit(self, cause: IncidentState, now: datetime) -> Iterator[Decision]:
        """Take back what this incident explains."""
        for state, because in self.muting.symptoms_of(cause, now):
            found = Cause(cause, because)
            yield from self.mute(state, self.muting.inhibited(found), now)
            self._list_impact(state, [found], now)

    def mute(self, state: IncidentState, mute: Mute, now: datetime) -> Iterator[Decision]:
        """Tell people no more of an incident, and why."""
        state.mutes[f"{mute.kind}:{mute.by}"] = mute
        yield Decision(held_back(state, mute, now), None)
        if state.visible:
            settle(state)
            yield from self.lifecycle.say(state, "suppressed", now, mute.reason)
        self.changed(state)

    def review(self, state: IncidentState, now: datetime) -> Iterator[Decision]:
        """Drop mutes that no longer hold; what is muted no more and still fires is told after all."""
        if not state.active or not (state.mutes or state.incident.status == "suppressed"):
            return
        for name, mute in sorted(state.mutes.items()):
            if not self.muting.holds(state, mute, now):
                del state.mutes[name]
        if not state.mutes and state.firing:
            causes = self._hold_back(state, now)
            self._list_impact(state, causes, now)
            yield from (Decision(held_back(state, mute, now), None) for mute in state.mutes.values())
        if not state.mutes and state.firing:
            settle(state)
            yield from self.lifecycle.say(state, "surfaced", now, "still firing, and nothing holds it back any more")
        self.changed(state)

    def serve(self, state: IncidentState, due: datetime) -> Iterator[Decision]:
        """Do what the incident's deadline asks for; forget it when it is over."""
        was_active = state.active
        yield from self.review(state, due)
        yield from self.lifecycle.serve(state, due)
        if was_active and not state.active:
            self._released(state, due)
        if self.lifecycle.is_over(state, due):
            self.board.drop(state)
            self._deadlines.set(INCIDENT + state.id, None)
        else:
            self.changed(state)

    def end(
        self, state: IncidentState, now: datetime, reason: str, *, by: str, event: IncidentEvent
    ) -> Iterator[Decision]:
        """Resolve an incident, and let go of what it held back."""
        yield from self.lifecycle.resolve(state, now, reason, by=by, event=event)
        self._released(state, now)
        self.changed(state)

    def _released(self, ended: IncidentState, now: datetime) -> None:
        """What an ended incident held back is told once surface_s has passed, if it still fires then."""
        until = now + timedelta(seconds=self.policy.inhibit.surface_s)
        for state in self.board:
            for name, mute in state.mutes.items():
                if mute.by == ended.id:
                    state.mutes[name] = mute._replace(until=until)
                    self.changed(state)

    def hand_over(self, old: IncidentState, new: IncidentState, now: datetime) -> Iterator[Decision]:
        """Close an incident by age; the new one goes on with what still fires, and with what it holds back."""
        yield from self.lifecycle.hand_over(old, new, now)
        for state in self.board:
            for name, mute in list(state.mutes.items()):
                if mute.by == old.id:
                    del state.mutes[name]
                    state.mutes[f"{mute.kind}:{new.id}"] = mute._replace(by=new.id)
        self.changed(old)

    @property
    def is_empty(self) -> bool:
        """Nothing is open, remembered or known."""
        return not len(self.board) and not len(self.muting.silences) and not len(self.muting.topology)

    def merge(self, states: Sequence[IncidentState], link: str, now: datetime) -> Iterator[Decision]:
        """Make one of several incidents: the earliest goes on, the others end with a link to it."""
        survivor, *others = states
        for other in others:
            hidden = bool(survivor.mutes) and bool(other.mutes)
            old_keys, old_id = set(other.keys), other.id
            take_over(survivor, other, now, max_evidence=self.policy.max_evidence)
            other.keys = set()
            other.change(merged_into=survivor.id)
            yield from self.end(other, now, f"the same situation as {survivor.id}: {link}", by=SELF, event="merged")
            if not hidden:
                survivor.mutes.clear()
            settle(survivor)
            self.board.put(survivor)
            reason = f"{old_id} is the same situation ({link}); {len(old_keys)} correlation keys taken over"
            yield from self.lifecycle.say(survivor, "merged", now, reason)
        self.changed(survivor)

    def check_storm(self, at: datetime) -> Iterator[Decision]:
        """End a storm that has calmed down; what still fires is told."""
        storm = self.board.get(self._storm.incident_id or "")
        if storm is None or not self._storm.is_over(at):
            self._deadlines.set(STORM, self._storm.check_at if storm is not None else None)
            return
        members = [state for state in self.board if f"storm:{storm.id}" in state.mutes]
        firing = [state for state in members if state.firing]
        if len(firing) >= self.policy.storm.opened:
            self._deadlines.set(STORM, at + timedelta(seconds=self.policy.storm.calm_s))
            return
        self._storm.end()
        reason = f"fewer incidents come; {len(firing)} of {len(members)} still fire and are told on their own"
        yield from self.lifecycle.resolve(storm, at, reason)
        self.changed(storm)
        for state in members:
            state.mutes.pop(f"storm:{storm.id}")
            yield from self.review(state, at)

    def changed(self, state: IncidentState) -> None:
        """Bring the board and the deadline up to date."""
        self.board.put(state)
        self._deadlines.set(INCIDENT + state.id, self.lifecycle.next_deadline(state))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "incidents": [state.snapshot() for state in self.board],
            "muting": self.muting.snapshot(),
            "storm": self._storm.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.muting.restore(state["muting"])
        for saved in state["incidents"]:
            self.changed(IncidentState.restored(saved))
        self._storm.restore(state["storm"])
        self._deadlines.set(STORM, self._storm.check_at)


SELF = "watchkeeper"
