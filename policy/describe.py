"""What a policy says, for people and programs."""

from pathlib import Path
from typing import Any

from policy.load import PolicySet, load_policy
from policy.model import Master, Policy


def check(directory: Path | None) -> PolicySet:
    """Load the policy of a directory (None: the shipped one).

    Raises:
        PolicyError: naming file, line, key and what was expected.
    """
    return load_policy(directory)


def show(policy: PolicySet, ship: str | None) -> list[tuple[str, Any, str]]:
    """Every value in force for a ship (None: for all others): dotted key, value, where it comes from."""
    chosen = policy.default if ship is None else policy.for_ship(ship)
    return [
        (key, value, "policy.yaml" if key == "profile" else policy.origin(ship, key))
        for key, value in _flat(chosen.model_dump(mode="json"))
    ]


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            out.extend(_flat(value, f"{prefix}{key}."))
        else:
            out.append((f"{prefix}{key}", value))
    return out


def schema() -> dict[str, Any]:
    """The JSON schema of the segments and of policy.yaml."""
    return {"segments": Policy.model_json_schema(), "policy.yaml": Master.model_json_schema()}
