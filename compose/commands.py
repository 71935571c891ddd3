"""What a person says from the command line: published as a command, and answered by the vessel flow."""

import asyncio
import time
from typing import Any, Final, NamedTuple
from uuid import uuid4

import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from compose.acknowledged import publish_acknowledged
from operators.jetstream import Delivery, Link, NatsAwayError, NatsConfig, open_link, stream_state
from operators.jetstream.pull import Pull
from schemas.ops import Action, AuditEvent, OpsCommand
from schemas.settings import SettingsError

COMMAND_SUBJECT: Final = "ops.command"
AUDIT_SUBJECT: Final = "ops.audit"
AUDIT_STREAM: Final = "OPS"
WAIT_S: Final = 5.0
WINDOW: Final = 256

log = structlog.get_logger()


class CommandError(SettingsError):
    """An argument of a command is wrong; the message says which and what was expected."""


class Outcome(NamedTuple):
    """What became of a command; audit is None when no answer came in time, problem then says more, if known."""

    command: OpsCommand
    audit: AuditEvent | None
    problem: str | None = None

    @property
    def done(self) -> bool:
        """Whether it is as the person wanted it."""
        return self.audit is not None and self.audit.outcome != "refused"


def make_command(
    action: Action,
    *,
    ship_id: str,
    by: str,
    incident_id: str | None = None,
    reason: str | None = None,
    args: dict[str, Any] | None = None,
) -> OpsCommand:
    """A command with an id of its own.

    Raises:
        CommandError: for a value that cannot be (too long, empty).
    """
    try:
        return OpsCommand(
            command_id=str(uuid4()),
            ship_id=ship_id,
            action=action,
            incident_id=incident_id,
            by=by,
            reason=reason,
            args=args or {},
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise CommandError(f"{name}: {first['msg']}, got {first['input']!r:.80}") from error


def send_command(config: NatsConfig, command: OpsCommand, *, wait_s: float = WAIT_S) -> Outcome:
    """Publish a command, acknowledged, and wait at most wait_s for the vessel flow's answer.

    It is stored once (Nats-Msg-Id is its command_id) and carried out even when no answer came in time.

    Raises:
        NatsError, NatsAwayError: when NATS cannot be reached or did not store it.
    """
    return asyncio.run(_send(config, command, wait_s))


async def _send(config: NatsConfig, command: OpsCommand, wait_s: float) -> Outcome:
    link = await open_link(config, "watchkeeper-command")
    try:
        before = (await stream_state(link, AUDIT_STREAM)).last
        await publish_acknowledged(link, COMMAND_SUBJECT, command, command.command_id)
        return await _await_answer(link, command, before, wait_s)
    finally:
        await link.close()


async def _await_answer(link: Link, command: OpsCommand, after: int, wait_s: float) -> Outcome:
    """Read the audit from there on; a reader that breaks is replaced while there is time."""
    deadline = time.monotonic() + wait_s
    ear = _Ear(command.command_id, after)
    problem: str | None = None
    while ear.heard is None and link.is_open and (left_s := deadline - time.monotonic()) > 0:
        ear.pull = pull = Pull(link, AUDIT_STREAM, ear.after, ear, window=WINDOW)
        try:
            await asyncio.wait_for(pull.run(lambda: ear.heard is not None), left_s)
        except TimeoutError:
            break
        except NatsAwayError as error:
            problem = str(error)
            await asyncio.sleep(min(0.1, left_s))
    return Outcome(command, ear.heard, problem)


class _Ear:
    """Listens for the audit of one command."""

    def __init__(self, command_id: str, after: int) -> None:
        self.heard: AuditEvent | None = None
        self.after = after
        self.pull: Pull | None = None
        self._wanted = command_id

    def take(self, delivery: Delivery, msg: Msg) -> None:
        """Take one message of the stream."""
        self.after = delivery.sequence
        if msg.subject != AUDIT_SUBJECT or self._wanted.encode() not in msg.data:
            return
        try:
            audit = AuditEvent.model_validate_json(msg.data)
        except ValidationError as error:
            log.warning("audit_unreadable", sequence=delivery.sequence, error=str(error))
            return
        if audit.command_id == self._wanted:
            self.heard = audit
            if self.pull is not None:
                self.pull.wake()

    def held(self) -> tuple[int, int]:
        """Nothing waits: what is taken is looked at."""
        return 0, 0
