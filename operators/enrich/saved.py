"""Events of the spine as plain data, for snapshots."""

from datetime import datetime
from typing import Any, Final

from schemas.anomaly import AnomalyDetected
from schemas.event import Body, Event
from schemas.ops import Device, OpsCommand, OpsTick
from schemas.telemetry import LogMessage, MetricSample

_KINDS: Final[dict[str, type[Body]]] = {
    "anomaly": AnomalyDetected,
    "tick": OpsTick,
    "command": OpsCommand,
    "device": Device,
    "log": LogMessage,
    "sample": MetricSample,
}
_NAMES: Final = {body: name for name, body in _KINDS.items()}


def save_event(event: Event) -> dict[str, Any]:
    """The event as plain data."""
    body = event.body.model_dump_json()
    return {"pos": list(event.pos), "at": event.at.isoformat(), "kind": _NAMES[type(event.body)], "body": body}


def load_event(saved: dict[str, Any]) -> Event:
    """The event that save_event was given."""
    sequence, index = saved["pos"]
    body = _KINDS[saved["kind"]].model_validate_json(saved["body"])
    return Event((sequence, index), datetime.fromisoformat(saved["at"]), body)
