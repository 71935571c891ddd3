"""Published messages for tests of what archives and reads them, with every field filled."""

from typing import Any

from schemas.base import Severity
from schemas.dead_letter import DeadLetter
from schemas.incident import (
    Evidence,
    Impact,
    IncidentPublished,
    Scope,
    SuppressionRecord,
    TimelineEntry,
)
from schemas.insight import EnrichmentCompleted
from schemas.ops import AuditEvent, Device
from tests.support.make import at

TRACKING_ID = "0198c0de-0000-8000-8000-000000000001"


def incident(seconds: float, incident_id: str = "inc-1", revision: int = 1, **fields: Any) -> IncidentPublished:
    """One revision of an incident with one piece of evidence."""
    known: dict[str, Any] = {
        "tracking_id": TRACKING_ID,
        "ship_id": "aurora",
        "incident_id": incident_id,
        "revision": revision,
        "event": "created" if revision == 1 else "updated",
        "incident_type": "login_storm",
        "severity": Severity.HIGH,
        "status": "open",
        "domain": "security",
        "title": "Many failed logins on gw-1",
        "corr_keys": {"ship_id": "aurora", "ip": "10.0.0.9"},
        "suppress_key": "aurora|login_storm",
        "fingerprint": "f1",
        "scope": (Scope(device_id="gw-1", service="sshd"), Scope(device_id="srv-1", service="node")),
        "opened_at": at(seconds),
        "updated_at": at(seconds),
        "anomaly_count": 3,
        "evidence": (
            Evidence(ref="an-1", tracking_id=TRACKING_ID, summary="5 in 60 s, »ünïcode«", weight=0.5, ts=at(seconds)),
        ),
        "timeline": (TimelineEntry(at=at(seconds), event="created", by="correlate", reason="3 anomalies"),),
        "impact": (Impact(device_id="srv-1", reason="behind gw-1"),),
        "runbook_refs": ("rb-1", "rb-2"),
    }
    return IncidentPublished(**{**known, **fields})


def suppression(seconds: float) -> SuppressionRecord:
    """A duplicate that was held back."""
    return SuppressionRecord(
        tracking_id=TRACKING_ID,
        ship_id="aurora",
        record_id="sup-1",
        ts=at(seconds),
        kind="duplicate",
        by="dedup_ttl",
        until=at(seconds + 60),
        reason="same fingerprint",
        anomaly_id="an-1",
        fingerprint="f1",
    )


def insight(seconds: float, version: int = 1, **fields: Any) -> EnrichmentCompleted:
    """An explanation by rules."""
    known: dict[str, Any] = {
        "tracking_id": TRACKING_ID,
        "ship_id": "aurora",
        "request_id": "req-1",
        "incident_id": "inc-1",
        "version": version,
        "source": "rules",
        "narrative": "Someone tries passwords.",
        "confidence": 0.9,
        "runbook_refs": ("rb-1",),
        "evidence_refs": ("an-1",),
        "latency_ms": 12.5,
        "completed_at": at(seconds),
    }
    return EnrichmentCompleted(**{**known, **fields})


def audit(seconds: float) -> AuditEvent:
    """A command that was applied."""
    return AuditEvent(
        tracking_id=TRACKING_ID,
        ship_id="aurora",
        audit_id="aud-1",
        ts=at(seconds),
        command_id="cmd-1",
        action="ack",
        by="officer",
        outcome="applied",
        reason="seen",
        incident_id="inc-1",
    )


def dead_letter(seconds: float, data: bytes = b"\xff{not json") -> DeadLetter:
    """Input that could not be read."""
    return DeadLetter.of(
        data,
        dead_letter_id=f"dl-{seconds:g}",
        ship_id="aurora",
        stream="TELEMETRY",
        pos=(7, 2),
        subject="logs.ingested.app.x",
        observed_at=at(seconds),
        reason="not JSON",
    )


def device(device_id: str = "gw-1", **fields: Any) -> Device:
    """An entry of the inventory."""
    return Device(
        **{"ship_id": "aurora", "device_id": device_id, "depends_on": ("sw-1",), "location": "bridge", **fields}
    )
