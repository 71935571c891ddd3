"""The desk where the incidents of one ship are worked on: told, held back, told after all, ended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from operators.correlate.board import IncidentBoard
from operators.correlate.classify import Situation
from operators.correlate.decision import Decision
from operators.correlate.former import FormerIncidents
from operators.correlate.incident_state import IncidentState, Mute
from operators.correlate.inhibition import Cause, impacts
from operators.correlate.lifecycle import Lifecycle, settle
from operators.correlate.merge_desk import MergeDesk
from operators.correlate.muting import Muting
from operators.correlate.storm_desk import StormDesk
from operators.correlate.suppression import held_back
from operators.deadlines import Deadlines
from policy import Policy
from schemas.anomaly import AnomalyEnriched
from schemas.incident import IncidentEvent

INCIDENT: Final = "incident|"


class IncidentDesk:
    """Does one thing to one incident and everything that follows from it for the others.

    Whoever changes an incident comes here, so that the board, its deadline, and what it inhibits are
    always in step. State: the board's incidents (those resolved at most as many as may be open; the
    earliest resolved gives way and is counted as resolved_cap), the ids of those before, silences,
    topology and storms.
    """

    def __init__(self, ship_id: str, policy: Policy, deadlines: Deadlines[str], counts: Counter[str]) -> None:
        self.ship_id = ship_id
        self.policy = policy.correlate
        self.board = IncidentBoard()
        self.former = FormerIncidents(policy.correlate.max_open_incidents, deadlines, counts)
        self.lifecycle = Lifecycle(policy.correlate)
        self.muting = Muting(policy, self.board)
        self.storms = StormDesk(self, deadlines)
        self.merging = MergeDesk(self)
        self._deadlines = deadlines
        self._counts = counts

    def begin(
        self, state: IncidentState, situation: Situation, anomalies: Sequence[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        """Open an incident on its first anomalies, or open a resolved one again; held back where there is reason to."""
        again = not state.active
        if again:
            state.change(status="open")
        state.begin(anomalies, now)
        self.lifecycle.rest_on(state, anomalies, now)
        self.lead(state, situation)
        causes = self._hold_back(state, now)
        for mute in state.mutes.values():
            yield Decision(held_back(state, mute, now), None)
        step = self.lifecycle.reopen if again else self.lifecycle.open
        yield from step(state, situation, anomalies, now)
        self._list_impact(state, causes, now)
        self.changed(state)
        yield from self.storms.told(state, now)
        yield from self.inhibit(state, now)

    def absorb(
        self, state: IncidentState, situation: Situation, anomaly: AnomalyEnriched, now: datetime, *, is_duplicate: bool
    ) -> Iterator[Decision]:
        """Rest an active incident on one more anomaly; what held it back may do so no more."""
        self.lead(state, situation)
        yield from self.lifecycle.absorb(state, situation, anomaly, now, is_duplicate=is_duplicate)
        self.changed(state)
        yield from self.storms.escalate(state, now)
        yield from self._explain_again(state, now)
        yield from self.review(state, now)
        yield from self.inhibit(state, now)

    def lead(self, state: IncidentState, situation: Situation) -> None:
        """Let a situation's key and links lead to an incident; what does not fit is counted as link_cap."""
        dropped = state.lead_here(situation.key, situation.links)
        if dropped:
            self._counts["link_cap"] += dropped
        self.board.put(state)

    def clear(self, state: IncidentState, source: str, now: datetime) -> None:
        """One source of an incident has cleared."""
        self.lifecycle.clear(state, source, now)
        self.changed(state)

    def _hold_back(self, state: IncidentState, now: datetime) -> list[Cause]:
        """Mute a state for every reason there is; gives its causes."""
        mutes, causes = self.muting.reasons(state, now)
        if not mutes and not state.mutes and (storm := self.storms.mute(state)) is not None:
            mutes = [storm]
        for mute in mutes:
            state.mutes[f"{mute.kind}:{mute.by}"] = mute
        return causes

    def _explain_again(self, state: IncidentState, now: datetime) -> Iterator[Decision]:
        """A symptom whose cause is over may have another by now: it is held back by that one."""
        over = [name for name, mute in state.mutes.items() if mute.kind == "inhibited" and mute.until is not None]
        cause = self.muting.cause_of(state, now) if over else None
        if cause is None:
            return
        for name in over:
            del state.mutes[name]
        mute = self.muting.inhibited(cause)
        state.mutes[f"{mute.kind}:{mute.by}"] = mute
        settle(state)
        yield Decision(held_back(state, mute, now), None)
        self._list_impact(state, [cause], now)
        self.changed(state)

    def _list_impact(self, state: IncidentState, causes: Iterable[Cause], now: datetime) -> None:
        limit = self.policy.max_evidence
        for cause in causes:
            above: IncidentState | None = cause.state
            while above is not None:
                because = self.muting.because(above, state) or cause.because
                # no short cut: every place must be listed
                added = [above.add_impact(impact, limit) for impact in impacts(state, because)]
                if any(added):
                    self.lifecycle.note(above, "impact", now, f"{state.incident.title}: {because}")
                    self.changed(above)
                above = self.muting.cause_above(above)

    def inhibit(self, cause: IncidentState, now: datetime) -> Iterator[Decision]:
        """Take back what this incident explains."""
        if not cause.active:
            return
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

    def review(self, state: IncidentState, now: datetime, *, is_news: bool = True) -> Iterator[Decision]:
        """Drop mutes that no longer hold; what is muted no more and has not cleared is told after all.

        is_news: whether it counts toward a storm when it is told.
        """
        if state.incident.status != "suppressed":
            return
        before = dict(state.mutes)
        state.mutes = {name: mute for name, mute in before.items() if self.muting.holds(state, mute, now)}
        if not state.mutes and state.cleared_at is None:
            causes = self._hold_back(state, now)
            for mute in state.mutes.values():
                yield Decision(held_back(state, mute, now), None)
            self._list_impact(state, causes, now)
            if not state.mutes:
                settle(state)
                still = "still firing, and " if state.firing else ""
                yield from self.lifecycle.say(state, "surfaced", now, f"{still}nothing holds it back any more")
            if is_news or state.mutes:
                yield from self.storms.told(state, now)
        if state.mutes and state.mutes != before:
            settle(state)
        self.changed(state)

    def serve(self, state: IncidentState, due: datetime) -> Iterator[Decision]:
        """Do what the incident's deadline asks for; forget it when it is over."""
        was_active = state.active
        yield from self.review(state, due)
        yield from self.lifecycle.serve(state, due)
        if was_active and not state.active:
            self._released(state, due)
        if self.lifecycle.is_over(state, due):
            self._forget(state)
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
        self.storms.ended(ended.id)
        until = now + timedelta(seconds=self.policy.inhibit.surface_s)
        for state in self.board.held_by(ended.id):
            for name, mute in state.mutes.items():
                if mute.by == ended.id:
                    state.mutes[name] = mute._replace(until=until)
            self.changed(state)

    def changed(self, state: IncidentState) -> None:
        """Bring the board and the deadline up to date."""
        self.board.put(state)
        self._deadlines.set(INCIDENT + state.id, self.lifecycle.next_deadline(state))
        if len(self.board) - self.board.active_count > self.policy.max_open_incidents:
            resolved = (each for each in self.board if not each.active)
            self._forget(
                min(resolved, key=lambda each: (each.incident.resolved_at or each.incident.updated_at, each.id))
            )
            self._counts["resolved_cap"] += 1

    def _forget(self, state: IncidentState) -> None:
        self.former.remember(state.id, state.keys, state.incident.resolved_at or state.incident.updated_at)
        self.board.drop(state)
        self._deadlines.set(INCIDENT + state.id, None)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`."""
        dedup = timedelta(seconds=self.policy.dedup_ttl_s)
        surface = timedelta(seconds=self.policy.inhibit.surface_s)
        for state in self.board:
            state.rewind(at, dedup=dedup, surface=surface)
            self.changed(state)
        self.storms.rewind(at)

    @property
    def is_empty(self) -> bool:
        """Nothing is open, remembered or known."""
        known = (self.board, self.former, self.muting.silences, self.muting.topology)
        return not any(len(each) for each in known)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "incidents": [state.snapshot() for state in self.board],
            "former": self.former.snapshot(),
            "muting": self.muting.snapshot(),
            "storm": self.storms.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.muting.restore(state["muting"])
        self.former.restore(state.get("former", ()))  # snapshots of the same version may lack it
        for saved in state["incidents"]:
            self.changed(IncidentState.restored(saved))
        self.storms.restore(state["storm"])
