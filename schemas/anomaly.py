"""A detector's finding, and the same finding with its context."""

from typing import Literal

from pydantic import Field

from schemas.base import Domain, Name, Part, Pos, Score, Severity, TracedMessage, UtcDatetime


class DetectorVote(Part):
    """What one detector that fires says: score is 0.5 at its own firing boundary, msg names the unit of statistic."""

    detector: Name
    score: Score
    statistic: float | None = None
    bound: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    since: UtcDatetime | None = None
    msg: str


class AnomalyDetected(TracedMessage):
    """A detector says that a series is firing, or that it has cleared.

    tracking_id is that of the log line or sample it was found on; evidence_ids are those of all
    events it speaks for (at most 100). The message explains itself: msg is one sentence with the
    numbers in it; votes are the detectors of a metric that fire at this moment (none when it clears,
    none of logs); flapping says that this series fires again and again, and is told once.
    """

    anomaly_id: str
    pos: Pos
    ts: UtcDatetime
    observed_at: UtcDatetime
    state: Literal["firing", "cleared"]
    anomaly_type: Literal[
        "metric_threshold", "metric_outlier", "log_pattern", "log_rate", "log_template", "stale", "telemetry_gap"
    ]
    detector: Name
    domain: Domain
    service: Name
    device_id: Name
    series: str
    metric_name: str | None = None
    rule: str | None = None
    incident_type: str | None = None
    severity_hint: Severity | None = None
    score: Score
    metric_value: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    unit: str | None = None
    count: int = 1
    since: UtcDatetime | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    votes: tuple[DetectorVote, ...] = ()
    flapping: bool = False
    evidence_ids: tuple[str, ...] = ()
    msg: str

    @property
    def source(self) -> str:
        """What fired and will clear: series, detector and rule."""
        return f"{self.series}|{self.detector}|{self.rule or ''}"

    @property
    def fingerprint(self) -> str:
        """Identity for de-duplication: series, detector and what the line named (an address, a user)."""
        named = ",".join(f"{key}={value}" for key, value in sorted(self.fields.items()))
        return f"{self.series}|{self.detector}|{named}"


class ContextData(Part):
    """What ClickHouse knows about an anomaly's surroundings; None where it was not asked or knows nothing."""

    similar_1h: int | None = None
    similar_24h: int | None = None
    similar_7d: int | None = None
    metric_p50: float | None = None
    metric_p95: float | None = None
    error_rank: int | None = None
    last_incident_id: str | None = None
    last_incident_outcome: str | None = None
    device_type: str | None = None
    vendor: str | None = None
    model: str | None = None
    location: str | None = None
    criticality: Severity | None = None


class AnomalyEnriched(AnomalyDetected):
    """An anomaly with its context and the severity that follows from both."""

    severity: Severity
    severity_reason: str
    context: ContextData = Field(default_factory=ContextData)
