"""The desk where incidents become one: merged, or one going on where another ends by age."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState
from operators.correlate.lifecycle import settle
from operators.correlate.merging import go_on, take_over

if TYPE_CHECKING:
    from operators.correlate.desk import IncidentDesk


class MergeDesk:
    """Ends one incident in favour of another, which takes over what it rests on and what it holds back.

    Keeps no state of its own.
    """

    def __init__(self, desk: "IncidentDesk") -> None:
        self._desk = desk

    def hand_over(self, old: IncidentState, new: IncidentState, now: datetime) -> Iterator[Decision]:
        """Close an incident by age; the new one goes on with what still fires, and with what it holds back."""
        desk = self._desk
        go_on(new, old, max_evidence=desk.policy.max_evidence)
        desk.board.put(new)
        yield from desk.lifecycle.resolve(old, now, f"closed by age, goes on in {new.id}")
        desk.changed(old)
        self._pass_on(old, new)

    def _pass_on(self, old: IncidentState, new: IncidentState) -> None:
        """What one incident held back another does now."""
        for state in self._desk.board.held_by(old.id):
            for name, mute in [(name, mute) for name, mute in state.mutes.items() if mute.by == old.id]:
                del state.mutes[name]
                state.mutes[f"{mute.kind}:{new.id}"] = mute._replace(by=new.id)
            settle(state)
            self._desk.changed(state)

    def merge(self, states: Sequence[IncidentState], link: str, now: datetime) -> Iterator[Decision]:
        """Make one of several incidents: the earliest goes on, the others end with a link to it."""
        desk = self._desk
        survivor, *others = states
        for other in others:
            yield from self._merge(survivor, other, link, now)
        desk.changed(survivor)

    def _merge(self, survivor: IncidentState, other: IncidentState, link: str, now: datetime) -> Iterator[Decision]:
        """It is told unless both were held back, by something else than each other."""
        desk = self._desk
        was_hidden, keys = not survivor.visible, len(other.keys)
        mutes = {**other.mutes, **survivor.mutes} if survivor.mutes and other.mutes else {}
        take_over(survivor, other, now, max_evidence=desk.policy.max_evidence)
        survivor.mutes = {}
        other.change(merged_into=survivor.id)
        reason = f"the same situation as {survivor.id}: {link}"
        yield from desk.lifecycle.resolve(other, now, reason, event="merged")
        desk.changed(other)
        self._pass_on(other, survivor)
        mutes = {name: mute for name, mute in mutes.items() if mute.by not in (survivor.id, other.id)}
        for name, mute in mutes.items():
            above = desk.board.get(mute.by)
            if above is None or not desk.muting.rests_on(above, survivor):
                survivor.mutes[name] = mute
        settle(survivor)
        desk.board.put(survivor)
        reason = f"{other.id} is the same situation ({link}); correlation keys taken over: {keys}"
        yield from desk.lifecycle.say(survivor, "merged", now, reason)
        if was_hidden and survivor.visible:
            yield from desk.lifecycle.say(survivor, "surfaced", now, f"{other.id}, which it took over, was told")
