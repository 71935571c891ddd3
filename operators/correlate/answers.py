"""answers: what a command says, and what it is told."""

import json
from datetime import datetime
from hashlib import blake2b
from typing import Any

from schemas.identity import content_uuid
from schemas.ops import AuditEvent, OpsCommand

MAX_TEXT = 2000
SELF = "watchkeeper"
"""Who speaks where no person does."""


class Refused(Exception):
    """A command that cannot be done; the text says why, and what to do."""


class Unchanged(Exception):
    """A command that asks for what is already so."""


def text_of(command: OpsCommand, name: str, instead: str | None = None) -> str:
    """A text that the action needs, cut at 2000 characters; raises Refused without one."""
    value = command.args.get(name) or instead
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{command.action} needs args.{name}, a text")
    return value.strip()[:MAX_TEXT]


def check_who(command: OpsCommand) -> None:
    """Raises Refused for a command that no person answers for."""
    who = command.by.strip()
    if not who or who.casefold() == SELF:
        raise Refused(f"{command.action} needs the name of the person who asks for it (by), got {who!r}")


def digest_of(command: OpsCommand) -> str:
    """What tells a command from another under the same id."""
    asked = [command.action, command.incident_id, command.by, command.reason, command.args]
    return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()


def reason_of(command: OpsCommand, instead: str) -> str:
    """Why a person wants it, cut at 2000 characters."""
    return (command.reason or "").strip()[:MAX_TEXT] or instead


def summary_of(command: OpsCommand) -> str:
    """What was done by whom and why."""
    reason = reason_of(command, "")
    return f"{command.action} by {command.by}" + (f": {reason}" if reason else "")


def answer_to(command: OpsCommand, at: datetime, outcome: Any, reason: str, *, again: bool = False) -> AuditEvent:
    """What became of a command; again: it was answered before."""
    silence_id = command.command_id if command.action == "silence" and outcome == "applied" else None
    if command.action == "unsilence" and isinstance(named := command.args.get("silence_id"), str):
        silence_id = named[:MAX_TEXT]
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
        incident_id=command.incident_id[:MAX_TEXT] if command.incident_id else None,
        silence_id=silence_id,
    )
