"""muting: the reasons for which people are not told of an incident."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from operators.correlate.board import IncidentBoard
from operators.correlate.incident_state import IncidentState, Mute
from operators.correlate.inhibition import Cause, Inhibition
from operators.correlate.maintenance import Maintenance
from operators.correlate.matchers import Subject, of_incident
from operators.correlate.silences import Silence, Silences
from operators.correlate.topology import Topology
from policy import Policy


class Muting:
    """Asks silences, maintenance windows and causes, in that order.

    A maintenance window holds back what opens, reopens or would surface while it is open, not what
    people were told of before. State: the silences and the topology.
    """

    def __init__(self, policy: Policy, board: IncidentBoard) -> None:
        self.limits = policy.maintenance.silences
        self.silences = Silences(self.limits)
        self.topology = Topology()
        self._maintenance = Maintenance(policy.maintenance.windows)
        self._max_scope = policy.correlate.max_evidence
        self._storm = policy.correlate.storm.incident_type
        self._inhibition = Inhibition(policy.correlate.inhibit, board, self.topology)
        self._board = board

    def reasons(self, state: IncidentState, now: datetime) -> tuple[list[Mute], list[Cause]]:
        """Why people should not be told of an incident, and the causes among these reasons."""
        mutes: list[Mute] = []
        about = self._subject(state)
        silence = self.silences.match(about, now)
        if silence is not None:
            mutes.append(silenced(silence))
        window = self._maintenance.match(about, now)
        if window is not None:
            why = f"maintenance window {window.name} of {window.policy.owner}: {window.policy.reason}"
            mutes.append(Mute("maintenance", window.name, window.until, why))
        cause = self._inhibition.cause_of(state, now)
        if cause is not None:
            mutes.append(self.inhibited(cause))
        return mutes, [cause] if cause is not None else []

    def silence(self, silence_id: str, state: IncidentState, now: datetime) -> Mute | None:
        """The mute of one silence, where it speaks of the incident."""
        if not self.matches(silence_id, state):
            return None
        hit = self.silences.hit(silence_id, now)
        return silenced(hit) if hit is not None else None

    def cause_of(self, state: IncidentState, now: datetime) -> Cause | None:
        """What explains an incident now."""
        return self._inhibition.cause_of(state, now)

    def inhibited(self, cause: Cause) -> Mute:
        """The mute of a symptom."""
        return self._inhibition.mute(cause)

    def symptoms_of(self, cause: IncidentState, now: datetime) -> Iterator[tuple[IncidentState, str]]:
        """What this incident explains and people were told of."""
        return self._inhibition.symptoms_of(cause, now)

    def cause_above(self, state: IncidentState) -> IncidentState | None:
        """The incident that explains this one."""
        by = next((mute.by for mute in state.mutes.values() if mute.kind == "inhibited"), "")
        return self._board.get(by)

    def because(self, cause: IncidentState, symptom: IncidentState) -> str | None:
        """How the devices of an incident lead to those of another; None when they do not."""
        return self._inhibition.because(cause, symptom)

    def holds(self, state: IncidentState, mute: Mute, now: datetime) -> bool:
        """Whether a mute still holds: its time has not come, and the incident is still what it was about.

        What has no end of its own holds while the incident by which it is explained is active.
        """
        if mute.until is not None and mute.until <= now:
            return False
        if mute.kind == "silence":
            return self.matches(mute.by, state)
        if mute.kind == "maintenance":
            return self._maintenance.speaks_of(mute.by, self._subject(state))
        if mute.until is not None:
            return True
        if mute.kind == "inhibited":
            return self._inhibition.still_explains(mute.by, state)
        above = self._board.get(mute.by)
        return above is not None and above.active

    def rests_on(self, state: IncidentState, other: IncidentState) -> bool:
        """Whether an incident is explained, however far up, by the other."""
        return self._inhibition.rests_on(state, other)

    def matches(self, silence_id: str, state: IncidentState) -> bool:
        """Whether a silence speaks of an incident as it is now."""
        silence = self.silences.get(silence_id)
        return silence is not None and silence.matchers.hold(self._subject(state))

    def _subject(self, state: IncidentState) -> Subject:
        """What an incident is about; a storm, and one too wide to list, are about more than any device or rule."""
        is_listed = len(state.incident.scope) < self._max_scope and not state.scope_cut
        complete = state.incident.incident_type != self._storm and is_listed
        return of_incident(state.incident, state.about if len(state.about) < self._max_scope else (), complete=complete)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"silences": self.silences.snapshot(), "topology": self.topology.snapshot()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.silences.restore(state["silences"])
        self.topology.restore(state["topology"])


def silenced(silence: Silence) -> Mute:
    """The mute of a silence."""
    return Mute("silence", silence.silence_id, silence.expires_at, f"silenced by {silence.owner}: {silence.reason}")
