"""commands: what people ask for, done once, and answered."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from operators.correlate.answers import (
    Refused,
    Unchanged,
    answer_to,
    check_who,
    digest_of,
    reason_of,
    summary_of,
    text_of,
)
from operators.correlate.decision import Decision
from operators.correlate.desk import IncidentDesk
from operators.correlate.incident_state import IncidentState
from operators.correlate.lifecycle import settle
from operators.correlate.silences import SilenceError, parse_silence
from operators.deadlines import Deadlines
from schemas.base import MAX_NAME
from schemas.ops import AuditEvent, OpsCommand

COMMAND: Final = "command|"
SILENCE: Final = "silence|"
MAX_REMEMBERED = 10_000
REMEMBERED: Final = timedelta(days=7)
MAX_SHOWN = 100


class _Done(NamedTuple):
    """A command that was answered: when, with what outcome, and a digest of what was asked (None: not known)."""

    at: datetime
    outcome: str
    digest: str | None = None


class CommandDesk:
    """Carries out the commands of one ship, each command_id once, and answers every one with an AuditEvent.

    State: the outcomes of the last 10,000 commands of seven days, in log time, with a digest of what was asked.
    """

    def __init__(self, desk: IncidentDesk, deadlines: Deadlines[str]) -> None:
        self._desk = desk
        self._deadlines = deadlines
        self._done: dict[str, _Done] = {}
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
        if command.error_msg is not None:
            yield Decision(answer_to(command, now, "refused", command.error_msg, again=True), None)
            return
        known, digest = self._done.get(command.command_id), digest_of(command)
        if known is not None:
            yield Decision(_again(command, known, digest, now), None)
            return
        decisions: list[Decision] = []
        outcome, reason = "applied", summary_of(command)
        try:
            check_who(command)
            decisions = list(self._actions[command.action](command, now))
        except Refused as error:
            outcome, reason = "refused", str(error)
        except Unchanged as error:
            outcome, reason = "unchanged", str(error)
        self._done[command.command_id] = _Done(now, reason, digest)
        if len(self._done) > MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        self._set_deadlines()
        yield from decisions
        yield Decision(self._closing(answer_to(command, now, outcome, reason)), None)

    def serve(self, due: datetime) -> None:
        """Forget commands and silences whose time has passed."""
        while self._done and (first := next(iter(self._done.items())))[1].at + REMEMBERED <= due:
            del self._done[first[0]]
        self._desk.muting.silences.due(due)
        self._set_deadlines()

    def _set_deadlines(self) -> None:
        first = next(iter(self._done.values()), None)
        self._deadlines.set(COMMAND, first.at + REMEMBERED if first is not None else None)
        self._deadlines.set(SILENCE, self._desk.muting.silences.deadline)

    def _closing(self, answer: AuditEvent) -> AuditEvent:
        """The answer, with what the silence that it made holds back, and until when."""
        silence = self._desk.muting.silences.get(answer.silence_id or "")
        if silence is None:
            return answer
        return answer.model_copy(update={"until": silence.expires_at, "matchers": dict(silence.matchers.given)})

    def _incident(self, command: OpsCommand) -> IncidentState:
        if not command.incident_id:
            raise Refused(f"{command.action} needs the id of an incident (incident_id)")
        state = self._desk.board.get(command.incident_id)
        if state is None:
            raise Refused(
                f"no incident {command.incident_id[:MAX_SHOWN]} is open or recently resolved on {command.ship_id}; "
                "list them with: watchkeeper incidents"
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
        yield from self._say(state, "acknowledged", command, now, reason_of(command, "acknowledged"))

    def _assign(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state, assignee = self._active(command), text_of(command, "assignee")[:MAX_NAME]
        if state.incident.assignee == assignee:
            raise Unchanged(f"incident {state.id} is assigned to {assignee} already")
        state.change(assignee=assignee)
        yield from self._say(state, "assigned", command, now, f"assigned to {assignee}")

    def _comment(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        yield from self._say(state, "commented", command, now, text_of(command, "text", command.reason))

    def _resolve(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        if not state.active:
            raise Unchanged(f"incident {state.id} is resolved already")
        reason = reason_of(command, "resolved by hand")
        yield from self._desk.end(state, now, reason, by=command.by, event="resolved")

    def _reopen(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        state = self._incident(command)
        if state.active:
            raise Unchanged(f"incident {state.id} is open already")
        if state.incident.merged_into is not None:
            raise Refused(f"incident {state.id} went on in {state.incident.merged_into}; reopen that")
        state.acknowledged = False
        state.heard_at = now
        state.begin((), now)
        state.cleared_at = None
        state.change(status="open", resolved_at=None)
        yield from self._say(state, "reopened", command, now, reason_of(command, "reopened by hand"))
        yield from self._desk.inhibit(state, now)

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
            mute = muting.silence(silence.silence_id, state, now) if state.visible else None
            if mute is not None:
                yield from self._desk.mute(state, mute, now)

    def _unsilence(self, command: OpsCommand, now: datetime) -> Iterator[Decision]:
        silence_id = text_of(command, "silence_id")
        if self._desk.muting.silences.remove(silence_id, now) is None:
            raise Refused(f"no silence {silence_id[:MAX_SHOWN]} is in force; list them with: watchkeeper silences")
        for state in self._desk.board.held_by(silence_id):
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
        return {"done": [(command_id, *outcome) for command_id, outcome in self._done.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot, after the desk has taken over its own."""
        # what was done before there were digests comes without one
        self._done = {command_id: _Done(*outcome) for command_id, *outcome in state["done"]}
        self._set_deadlines()


def _again(command: OpsCommand, known: _Done, digest: str, now: datetime) -> AuditEvent:
    """The answer to a command whose id was used before."""
    if known.digest in (None, digest):
        return answer_to(command, now, "unchanged", f"done before: {known.outcome}", again=True)
    reason = (
        f"command id {command.command_id[:MAX_SHOWN]} was used for another command ({known.outcome}); "
        "send this one under an id of its own"
    )
    return answer_to(command, now, "refused", reason, again=True)
