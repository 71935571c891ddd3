"""Events, lines, samples and anomalies for tests, with plain defaults."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import Severity
from schemas.event import Event, RawMessage
from schemas.identity import content_uuid, event_uuid
from schemas.ops import OpsTick
from schemas.telemetry import LogMessage, MetricSample

START = datetime(2026, 3, 1, tzinfo=UTC)
STREAM = 0xABCDEF012345


def at(seconds: float) -> datetime:
    """So many seconds after the start of every test."""
    return START + timedelta(seconds=seconds)


def raw(sequence: int, subject: str, body: Any, seconds: float | None = None) -> RawMessage:
    """A stored message; body is bytes, text, or something to be written as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return RawMessage("TELEMETRY", STREAM, sequence, at(sequence if seconds is None else seconds), subject, data)


def line(seconds: float, msg: str, **fields: Any) -> LogMessage:
    """A log line."""
    known: dict[str, Any] = {
        "tracking_id": event_uuid(STREAM, int(seconds * 1000), 0),
        "ship_id": "aurora",
        "ts": at(seconds),
        "observed_at": at(seconds),
        "domain": "security",
        "service": "sshd",
        "device_id": "gw-1",
        "level": "error",
        "msg": msg,
    }
    return LogMessage(**{**known, **fields})


def sample(seconds: float, value: float, **fields: Any) -> MetricSample:
    """A metric sample."""
    known: dict[str, Any] = {
        "tracking_id": event_uuid(STREAM, int(seconds * 1000), 1),
        "ship_id": "aurora",
        "ts": at(seconds),
        "observed_at": at(seconds),
        "domain": "system",
        "service": "node",
        "device_id": "srv-1",
        "metric_name": "cpu_pct",
        "metric_value": value,
        "unit": "%",
    }
    return MetricSample(**{**known, **fields})


def event(body: Any, sequence: int | None = None) -> Event:
    """A body at its own arrival, in the order of its arrival."""
    arrival = body.observed_at
    place = int((arrival - START).total_seconds() * 1000) if sequence is None else sequence
    return Event((place, 0), arrival, body)


def tick(seconds: float) -> Event:
    """Log time reaching so many seconds."""
    return Event((int(seconds * 1000), -1), at(seconds), OpsTick(ship_id="aurora"))


def anomaly(seconds: float, **fields: Any) -> AnomalyDetected:
    """A firing anomaly of a threshold."""
    return AnomalyDetected(**_anomaly_fields(seconds, fields))


def enriched(seconds: float, severity: Severity = Severity.HIGH, **fields: Any) -> AnomalyEnriched:
    """The same with its severity."""
    return AnomalyEnriched(**_anomaly_fields(seconds, fields), severity=severity, severity_reason="by the test")


def _anomaly_fields(seconds: float, fields: dict[str, Any]) -> dict[str, Any]:
    device = fields.get("device_id", "srv-1")
    known: dict[str, Any] = {
        "tracking_id": event_uuid(STREAM, int(seconds * 1000), 2),
        "ship_id": "aurora",
        "pos": (int(seconds * 1000), 0),
        "ts": at(seconds),
        "observed_at": at(seconds),
        "state": "firing",
        "anomaly_type": "metric_threshold",
        "detector": "threshold",
        "domain": "system",
        "service": "node",
        "device_id": device,
        "series": f"aurora/{device}/node/cpu_pct",
        "metric_name": "cpu_pct",
        "rule": "cpu_high",
        "incident_type": "resource_pressure",
        "score": 0.8,
        "metric_value": 95.0,
        "msg": "cpu_pct is 95",
    }
    known.update(fields)
    known.setdefault("anomaly_id", content_uuid(known["series"], known["state"], known["tracking_id"]))
    return known
