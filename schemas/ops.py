"""What people and Watchkeeper itself say: commands, ticks, device inventory, audit."""

from typing import Any, Literal

from pydantic import Field

from schemas.base import Message, Name, TracedMessage, UtcDatetime

Action = Literal["ack", "assign", "comment", "resolve", "reopen", "silence", "unsilence"]


class OpsTick(Message):
    """Log time moves on although nothing else was said."""

    ship_id: Name


class OpsCommand(Message):
    """A person's action on an incident or a silence, idempotent by command_id.

    incident_id: of all actions but silence and unsilence. args by action: assign {assignee}, comment
    {text}, silence {matchers: {field: value or glob}, duration_s or expires_at}, unsilence {silence_id}.
    A silence's id is the command_id of the command that made it. error_msg: why it cannot be carried out,
    of one that could not be read as a command but for its id (action or by are then "unknown" where they
    were not readable); whoever sends a command cannot set it.
    """

    command_id: Name
    ship_id: Name
    action: Action | Literal["unknown"]
    incident_id: str | None = None
    by: Name
    reason: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    error_msg: str | None = None


class Device(Message):
    """One entry of the ship's device inventory (subject ops.device)."""

    ship_id: Name
    device_id: Name
    device_type: str = ""
    vendor: str = ""
    model: str = ""
    location: str = ""
    criticality: Literal["low", "medium", "high", "critical"] = "medium"
    depends_on: tuple[Name, ...] = ()
    removed: bool = False


class AuditEvent(TracedMessage):
    """What became of a command: who asked for what, and the outcome with its reason.

    silence_id: the silence that was made or ended. matchers, until: what the silence that was made holds
    back, and when it ends by itself.
    """

    audit_id: str
    ts: UtcDatetime
    command_id: str
    action: str
    by: str
    outcome: Literal["applied", "refused", "unchanged"]
    reason: str
    incident_id: str | None = None
    silence_id: str | None = None
    matchers: dict[str, str] | None = None
    until: UtcDatetime | None = None
