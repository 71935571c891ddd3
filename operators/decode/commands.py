"""commands: what people ask for, and what is told them where it cannot be read."""

from typing import Any, Final, get_args

from pydantic import ValidationError

from schemas.base import MAX_NAME
from schemas.ops import Action, OpsCommand

_ACTIONS: Final = get_args(Action)


class _Sent(OpsCommand):
    """A command as it may be sent."""

    action: Action


def read_command(item: dict[str, Any], ship_id: str) -> OpsCommand:
    """The command of a message; ship_id stands in for a ship that is not named.

    Raises:
        ValidationError: for what is no command.
    """
    given = {name: value for name, value in item.items() if name != "error_msg"}
    return OpsCommand.model_validate(dict(_Sent.model_validate({"ship_id": ship_id, **given})))


def refused_command(item: Any, ship_id: str, reason: str) -> OpsCommand | None:
    """What is left of a command that cannot be read, so that it is answered; None when it has no readable id.

    >>> refused_command({"command_id": "c1", "action": "explode", "by": "eva"}, "aurora", "no such action").action
    'unknown'
    """
    if not isinstance(item, dict) or (command_id := _name(item, "command_id")) is None:
        return None
    action = item.get("action")
    known = {
        "command_id": command_id,
        "ship_id": _name(item, "ship_id") or ship_id,
        "action": action if action in _ACTIONS else "unknown",
        "incident_id": _name(item, "incident_id"),
        "by": _name(item, "by") or "unknown",
        "error_msg": reason,
    }
    try:
        return OpsCommand.model_validate(known)
    except ValidationError:  # a text that is no text (half a surrogate pair)
        return None


def _name(item: dict[str, Any], key: str) -> str | None:
    value = item.get(key)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME else None
