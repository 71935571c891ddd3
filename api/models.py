"""What the API answers with."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import Severity
from schemas.incident import IncidentEvent, IncidentPublished, IncidentStatus
from schemas.insight import EnrichmentCompleted
from schemas.telemetry import LogMessage, MetricSample

Count = Annotated[int, Field(ge=0)]


def _example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class SeverityCounts(BaseModel):
    """Incidents by severity."""

    critical: Count = 0
    high: Count = 0
    medium: Count = 0
    low: Count = 0


class DomainCounts(BaseModel):
    """Incidents by domain."""

    comms: Count = 0
    app: Count = 0
    net: Count = 0
    security: Count = 0
    system: Count = 0


class Stats(BaseModel):
    """How many incidents a window saw; each counts once, by its latest revision."""

    model_config = _example(
        window="24h",
        **{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        total=12,
        open=3,
        ack=1,
        resolved=7,
        suppressed=1,
        by_severity={"critical": 1, "high": 4, "medium": 5, "low": 2},
        by_domain={"comms": 1, "app": 2, "net": 5, "security": 3, "system": 1},
    )

    window: str = Field(description="1h, 24h, 7d, or from/to")
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to", description="exclusive")
    total: Count
    open: Count
    ack: Count
    resolved: Count
    suppressed: Count
    by_severity: SeverityCounts
    by_domain: DomainCounts


class SeverityCount(BaseModel):
    """Incidents of one severity, and how many of them are not over (open or acknowledged)."""

    severity: Severity
    count: Count
    open: Count


class SeverityStats(BaseModel):
    """Incidents by severity, critical first; every severity is there."""

    model_config = _example(by_severity=[{"severity": "critical", "count": 1, "open": 1}])

    by_severity: list[SeverityCount]


class TypeCount(SeverityCounts):
    """Incidents of one type, by severity."""

    type: str
    count: Count


class TypeStats(BaseModel):
    """Incidents by type, the most frequent first."""

    model_config = _example(
        by_type=[{"type": "brute_force", "count": 4, "critical": 1, "high": 3, "medium": 0, "low": 0}]
    )

    by_type: list[TypeCount]


class TopDuplicate(BaseModel):
    """One finding that repeated: how often, last when, and in which incident."""

    ship_id: str
    fingerprint: str
    count: Count
    incident_id: str | None
    reason: str
    last_at: datetime


class DuplicateStats(BaseModel):
    """Findings that repeated what an incident knew; ratio is their share of all findings that fired (0 to 1)."""

    model_config = _example(
        duplicates=30,
        ratio=0.6,
        top=[
            {
                "ship_id": "aurora",
                "fingerprint": "aurora/gw-1/sshd|pattern|user=root",
                "count": 28,
                "incident_id": "6e1d2f0a-0000-8000-8000-000000000001",
                "reason": "the same finding is already evidence of incident 6e1d2f0a-0000-8000-8000-000000000001",
                "last_at": "2026-03-01T00:00:00Z",
            }
        ],
    )

    duplicates: Count
    ratio: float = Field(ge=0, le=1)
    top: list[TopDuplicate]


class TopSuppression(BaseModel):
    """One thing that was held back: how often, by what, why, and until when."""

    ship_id: str
    kind: str
    key: str
    by: str
    reason: str
    count: Count
    last_at: datetime
    until: datetime


class SuppressionStats(BaseModel):
    """Findings and incidents held back for another reason than repetition."""

    model_config = _example(
        suppressed=2,
        by_kind={"suppressed": 0, "maintenance": 2, "silence": 0, "inhibited": 0},
        top=[
            {
                "ship_id": "aurora",
                "kind": "maintenance",
                "key": "aurora|link_down",
                "by": "dry dock",
                "reason": "maintenance window dry dock",
                "count": 2,
                "last_at": "2026-03-01T00:00:00Z",
                "until": "2026-03-01T06:00:00Z",
            }
        ],
    )

    suppressed: Count
    by_kind: dict[str, int]
    top: list[TopSuppression]


class IncidentPage(BaseModel):
    """One page of incidents, the last changed first; next_cursor is null on the last page."""

    items: list[IncidentPublished]
    next_cursor: str | None


class Revision(BaseModel):
    """What one revision of an incident said."""

    revision: int
    event: IncidentEvent
    status: IncidentStatus
    severity: Severity
    title: str
    assignee: str | None
    anomaly_count: int
    duplicate_count: int
    updated_at: datetime
    published_at: datetime


class ResolvedEvidence(BaseModel):
    """One evidence with the anomaly and the raw event behind it; null when it is no longer stored."""

    ref: str
    tracking_id: str
    anomaly: AnomalyEnriched | AnomalyDetected | None
    log: LogMessage | None
    sample: MetricSample | None


class IncidentDetail(IncidentPublished):
    """The latest revision as published (narrative from the newest insight), and all that it rests on."""

    revisions: list[Revision]
    evidence_resolved: list[ResolvedEvidence]
    insights: list[EnrichmentCompleted]


StageName = Literal["ingested", "detected", "enriched", "correlated", "narrated"]


class Stage(BaseModel):
    """One stage that the event reached.

    latency_ms is the time since the previous stage that is there, 0 for the first. It is never
    below 0: streams are written side by side, so a later stage may be stored a little earlier.
    """

    stage: StageName
    at: datetime
    latency_ms: float = Field(ge=0)
    ref: str = Field(description="tracking_id, anomaly_id, incident_id:revision, or request_id:version")


class Missing(BaseModel):
    """One stage that the event did not reach, and why."""

    stage: StageName
    reason: str


class TraceParts(BaseModel):
    """Everything that belongs to the event.

    The first of logs and samples to arrive is the event; others were sent later with its tracking_id and other contents
    (at most 10 of a kind), and no finding changes by them.
    """

    logs: list[LogMessage]
    samples: list[MetricSample]
    anomalies: list[AnomalyEnriched | AnomalyDetected]
    incidents: list[IncidentPublished]
    insights: list[EnrichmentCompleted]


class Trace(BaseModel):
    """The way of one event, from arrival to narrative.

    complete says that ingested, detected, enriched and correlated are there. A narrative is not
    asked for, since it may be switched off or still be on its way; missing then says which.
    """

    model_config = _example(
        tracking_id="abcdef01-2345-8000-8000-000000000007",
        complete=True,
        missing=[{"stage": "narrated", "reason": "no narrative has been published yet"}],
        stages=[
            {
                "stage": "ingested",
                "at": "2026-03-01T00:00:00Z",
                "latency_ms": 0.0,
                "ref": "abcdef01-2345-8000-8000-000000000007",
            }
        ],
        trace={"logs": [], "samples": [], "anomalies": [], "incidents": [], "insights": []},
    )

    tracking_id: str
    complete: bool
    missing: list[Missing]
    stages: list[Stage]
    trace: TraceParts


class Part(BaseModel):
    """The state of one thing that the API needs, and what to do when it is not ok."""

    name: str
    state: Literal["ok", "failed"]
    detail: str
    action: str | None = None


class Health(BaseModel):
    """Whether the API is worth sending requests to."""

    model_config = _example(
        status="ready", version="0.1.0", parts=[{"name": "clickhouse", "state": "ok", "detail": "answers in 3 ms"}]
    )

    status: Literal["live", "ready", "not ready"]
    version: str
    parts: list[Part] = Field(default_factory=list)
