"""Anomalies of one situation, as one incident with revisions; and what was held back, with the reason."""

from typing import Literal

from pydantic import Field

from schemas.base import Domain, Name, Part, Severity, TracedMessage, UtcDatetime

IncidentStatus = Literal["open", "ack", "resolved", "suppressed"]
IncidentEvent = Literal[
    "created",
    "updated",
    "escalated",
    "resolved",
    "reopened",
    "acknowledged",
    "assigned",
    "commented",
    "suppressed",
    "surfaced",
    "merged",
]
SuppressionKind = Literal["duplicate", "suppressed", "maintenance", "silence", "inhibited", "storm"]


class Scope(Part):
    """One device and service that the incident touches."""

    device_id: Name
    service: Name


class Evidence(Part):
    """One anomaly that the incident rests on; ref is its anomaly_id."""

    ref: str
    tracking_id: str
    summary: str
    weight: float
    ts: UtcDatetime


class TimelineEntry(Part):
    """What happened to the incident, when, by whom or what, and why."""

    at: UtcDatetime
    event: str
    by: str
    reason: str


class Impact(Part):
    """A device or service that suffers from this incident's cause."""

    device_id: Name
    service: str | None = None
    reason: str


class Incident(TracedMessage):
    """Anomalies of one situation; each change is a new revision, from 1.

    tracking_id is that of the pos-first evidence. opened_at, updated_at and resolved_at are log
    time (arrival on board), evidence carries event time.
    """

    incident_id: str
    revision: int = Field(ge=1)
    incident_type: Name
    severity: Severity
    status: IncidentStatus
    domain: Domain
    title: str
    corr_keys: dict[str, str]
    suppress_key: str
    fingerprint: str
    scope: tuple[Scope, ...]
    opened_at: UtcDatetime
    updated_at: UtcDatetime
    resolved_at: UtcDatetime | None = None
    anomaly_count: int
    duplicate_count: int = 0
    evidence: tuple[Evidence, ...]
    evidence_dropped: int = 0
    timeline: tuple[TimelineEntry, ...]
    impact: tuple[Impact, ...] = ()
    runbook_refs: tuple[str, ...] = ()
    assignee: str | None = None
    narrative: str | None = None
    merged_into: str | None = None
    successor_of: str | None = None
    inhibited_by: str | None = None


class IncidentPublished(Incident):
    """An incident as it is published: with the event that made this revision."""

    event: IncidentEvent


class SuppressionRecord(TracedMessage):
    """Why something was not said: which anomaly or incident was held back, by what, until when."""

    record_id: str
    ts: UtcDatetime
    kind: SuppressionKind
    by: str
    until: UtcDatetime
    reason: str
    anomaly_id: str | None = None
    incident_id: str | None = None
    fingerprint: str
    suppress_key: str | None = None
