"""What happens on a ship, as rows of the archive."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from operators.clickhouse import Arrival, Row
from operators.clickhouse.rows import anomaly_row, incident_row, insight_row, log_row, sample_row, suppression_row
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import Severity
from schemas.identity import content_uuid
from schemas.incident import Evidence, IncidentPublished, Scope, SuppressionRecord, TimelineEntry
from schemas.insight import EnrichmentCompleted
from schemas.telemetry import LogMessage, MetricSample
from tests.support.make import anomaly, at, enriched


def incident(name: str, seconds: float = 0.0, revision: int = 1, **fields: Any) -> IncidentPublished:
    """One revision; seconds is its updated_at. The name makes the incident_id."""
    device = fields.pop("device_id", "srv-1")
    known: dict[str, Any] = {
        "tracking_id": content_uuid("event", name),
        "ship_id": "aurora",
        "incident_id": content_uuid("incident", name),
        "revision": revision,
        "incident_type": "resource_pressure",
        "severity": Severity.HIGH,
        "status": "open",
        "domain": "system",
        "title": f"Resource pressure on {device}",
        "corr_keys": {"device_id": device},
        "suppress_key": f"aurora|{name}",
        "fingerprint": f"aurora|{name}",
        "scope": (Scope(device_id=device, service="node"),),
        "opened_at": at(min(seconds, 0.0)),
        "updated_at": at(seconds),
        "anomaly_count": revision,
        "evidence": (),
        "timeline": (TimelineEntry(at=at(seconds), event="created", by="correlate", reason="a test"),),
        "event": "created" if revision == 1 else "updated",
    }
    return IncidentPublished(**{**known, **fields})


def arrival(seconds: float, sequence: int = 1) -> Arrival:
    return Arrival(at(seconds), sequence)


def row_of(message: Any, seconds: float | None = None) -> Row:
    """The row of a message that was published so many seconds after the start (or at its own time)."""
    match message:
        case LogMessage():
            return log_row(message, (1, 0))
        case MetricSample():
            return sample_row(message, (1, 0))
    own, build = _builder(message)
    place = Arrival(own, 1) if seconds is None else arrival(seconds)
    return build(message, place, message.to_json().decode())


def _builder(message: Any) -> tuple[datetime, Callable[[Any, Arrival, str], Row]]:
    """A message's own time, and the function that makes its row."""
    match message:
        case AnomalyDetected():
            return message.observed_at, anomaly_row
        case IncidentPublished():
            return message.updated_at, incident_row
        case SuppressionRecord():
            return message.ts, suppression_row
        case EnrichmentCompleted():
            return message.completed_at, insight_row
        case _:
            raise TypeError(type(message))


def both(seconds: float, **fields: Any) -> tuple[AnomalyDetected, AnomalyEnriched]:
    """An anomaly as detected and as enriched."""
    return anomaly(seconds, **fields), enriched(seconds, **fields)


def evidence_of(finding: AnomalyDetected) -> Evidence:
    return Evidence(
        ref=finding.anomaly_id, tracking_id=finding.tracking_id, summary=finding.msg, weight=1.0, ts=finding.ts
    )


def insight(name: str, seconds: float, version: int = 1, **fields: Any) -> EnrichmentCompleted:
    known: dict[str, Any] = {
        "tracking_id": content_uuid("event", name),
        "ship_id": "aurora",
        "request_id": content_uuid("request", name),
        "incident_id": content_uuid("incident", name),
        "version": version,
        "source": "rules" if version == 1 else "llm",
        "narrative": f"What it means, version {version}.",
        "confidence": 0.5,
        "latency_ms": 12.0,
        "completed_at": at(seconds),
    }
    return EnrichmentCompleted(**{**known, **fields})


def held(name: str, seconds: float, kind: str = "duplicate", **fields: Any) -> SuppressionRecord:
    known: dict[str, Any] = {
        "tracking_id": content_uuid("held", name),
        "ship_id": "aurora",
        "record_id": content_uuid("record", name),
        "ts": at(seconds),
        "kind": kind,
        "by": "dry dock",
        "until": at(seconds + 600),
        "reason": f"{kind} for a test",
        "fingerprint": "aurora/srv-1/node/cpu_pct|threshold|",
    }
    return SuppressionRecord(**{**known, **fields})
