"""commands: what people ask for, done once, and answered."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from operators.correlate.decision import Decision
from operators.correlate.desk import IncidentDesk
from operators.correlate.incident_state import IncidentState
from operators.correlate.lifecycle import settle
from operators.correlate.muting import silenced
from operators.correlate.silences import SilenceError, parse_silence
from schemas.identity import content_uuid
from schemas.ops import AuditEvent, OpsCommand

MAX_REMEMBERED = 10_000
MAX_TEXT = 2000


class Refused(Exception):
    """A command that cannot be done; the text says why, and what to do."""


class Unchanged(Exception):
    """A command that asks for what is already so."""


class CommandDesk:
    """Carries out the commands of one ship, each command_id once, and answers every one with an AuditEvent.

    State: the outcome of the last 10,000 commands.
    """

    def __init__(self, desk: IncidentDesk) -> None:
        self._desk = desk
        self._done: dict[str, str] = {}
        self._actions: dict[str, Callable[[OpsCommand, datetime], Iterator[Decision]]] = {
            "ack": self._ack,
            "assign": self._assign,
            "comment": self._comment,
            "resolve": self._resolve,
            "reopen": self._reopen,
            "silence": self._silence,
            "unsilence": self._unsilence,
        }

    def apply(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        """Do what the command asks for; the last decision is the answer."""
        known = self._done.get(command.command_id)
        if known is not None:
            yield Decision(_answer(command, now, "unchanged", f"done before: {known}", again=True), None)
            return
        decisions: list[Decision] = []
        outcome, reason = "applied", _what(command)
        try:
            decisions = list(self._actions[command.action](command, now))
        except Refused as error:
            outcome, reason = "refused", str(error)
        except Unchanged as error:
            outcome, reason = "unchanged", str(error)
        self._done[command.command_id] = reason
        if len(self._done) > MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        yield from decisions
        yield Decision(self._closing(_answer(command, now, outcome, reason)), None)

    def _closing(self, answer: AuditEvent) -> AuditEvent:
        """The answer, with the end of the silence that it made."""
        silence = self._desk.muting.silences.get(answer.silence_id or "")
        return answer.model_copy(update={"until": silence.expires_at}) if silence is not None else answer

    def _incident(self, command: OpsCommand) -> IncidentState:
        if not command.incident_id:
            raise Refused(f"{command.action} needs the id of an incident (incident_id)")
        state = self._desk.board.get(command.incident_id)
        if state is None:
            raise Refused(
                f"no incident {command.incident_id} is open or recently resolved on {command.ship_id}; "
                "look at the list of incidents"
            )
        return state

    def _active(self, command: OpsCommand) -> IncidentState:
        state = self._incident(command)
        if not state.active:
            raise Refused(f"incident {state.id} is resolved; reopen it first")
        return state

    def _ack(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._active(command)
        if state.acknowledged:
            raise Unchanged(f"incident {state.id} is acknowledged already")
        state.acknowledged = True
        state.change(assignee=state.incident.assignee or command.by)
        settle(state)
        yield from self._say(state, "acknowledged", command, now, command.reason or "acknowledged")

    def _assign(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state, assignee = self._active(command), _text(command, "assignee")
        if state.incident.assignee == assignee:
            raise Unchanged(f"incident {state.id} is assigned to {assignee} already")
        state.change(assignee=assignee)
        yield from self._say(state, "assigned", command, now, f"assigned to {assignee}")

    def _comment(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        yield from self._say(state, "commented", command, now, _text(command, "text", command.reason))

    def _resolve(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        if not state.active:
            raise Unchanged(f"incident {state.id} is resolved already")
        reason = command.reason or "resolved by hand"
        yield from self._desk.end(state, now, reason, by=command.by, event="resolved")

    def _reopen(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        if state.active:
            raise Unchanged(f"incident {state.id} is open already")
        if state.incident.merged_into is not None:
            raise Refused(f"incident {state.id} went on in {state.incident.merged_into}; reopen that")
        state.acknowledged = False
        state.heard_at = now
        state.change(status="open", resolved_at=None)
        yield from self._say(state, "reopened", command, now, command.reason or "reopened by hand")

    def _silence(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        muting = self._desk.muting
        try:
            silence = parse_silence(
                command.args,
                silence_id=command.command_id,
                by=command.by,
                reason=command.reason,
                now=now,
                limits=muting.limits,
            )
            muting.silences.add(silence)
        except SilenceError as error:
            raise Refused(str(error)) from error
        for state in self._desk.board:
            if state.visible and muting.matches(silence.silence_id, state):
                yield from self._desk.mute(state, silenced(silence), now)

    def _unsilence(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        silence_id = _text(command, "silence_id")
        if self._desk.muting.silences.remove(silence_id, now) is None:
            raise Refused(f"no silence {silence_id} is in force; look at the list of silences")
        for state in self._desk.board:
            if f"silence:{silence_id}" in state.mutes:
                yield from self._desk.review(state, now)

    def _say(
        self, state: IncidentState, event: Any, command: OpsCommand, now: datetime, reason: str
    ) -> Iterator[Decision]:
        yield from self._desk.lifecycle.say(state, event, now, reason, by=command.by)
        self._desk.changed(state)

    @property
    def is_empty(self) -> bool:
        """No command is remembered."""
        return not self._done

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"done": dict(self._done)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._done = dict(state["done"])


def _text(command: OpsCommand, name: str, instead: str | None = None) -> str:
    value = command.args.get(name) or instead
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{command.action} needs args.{name}, a text")
    return value.strip()[:MAX_TEXT]


def _what(command: OpsCommand) -> str:
    return f"{command.action} by {command.by}" + (f": {command.reason}" if command.reason else "")


def _answer(command: OpsCommand, at: datetime, outcome: Any, reason: str, *, again: bool = False) -> AuditEvent:
    silence_id = command.command_id if command.action == "silence" and outcome == "applied" else None
    identity = ("audit", command.command_id, *((at.isoformat(),) if again else ()))
    return AuditEvent(
        tracking_id=content_uuid("command", command.command_id),
        ship_id=command.ship_id,
        audit_id=content_uuid(*identity),
        ts=at,
        command_id=command.command_id,
        action=command.action,
        by=command.by,
        outcome=outcome,
        reason=reason,
        incident_id=command.incident_id,
        silence_id=command.args.get("silence_id") if command.action == "unsilence" else silence_id,
    )
