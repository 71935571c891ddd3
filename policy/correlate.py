"""correlate: which anomalies make one situation, and how its incident lives."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from policy.base import Glob, Segment, Word
from schemas.base import Domain, Severity

AnomalyType = Annotated[
    str, Field(pattern=r"^(metric_threshold|metric_outlier|log_pattern|log_rate|log_template|stale|telemetry_gap)$")
]
KeyName = Annotated[
    str, Field(max_length=64, pattern=r"^(device_id|service|domain|metric_name|rule|series|fields\.[A-Za-z_]\w*)$")
]


class IncidentTypePolicy(Segment):
    """One kind of situation."""

    title: str = Field(min_length=1, max_length=80, description="how people call it")
    window_s: float = Field(600, ge=1, le=86_400, description="event time within which min_events must lie")
    min_events: int = Field(1, ge=1, le=100, description="findings before an incident opens")
    hold_s: float = Field(120, ge=0, le=86_400, description="quiet after everything has cleared, before it resolves")
    max_age_s: float = Field(86_400, ge=60, le=2_592_000, description="older than this it takes nothing more")
    keys: tuple[KeyName, ...] = Field(("device_id",), max_length=8, description="what anomalies of one situation share")
    bridge: tuple[KeyName, ...] = Field(
        (),
        max_length=8,
        description="open incidents of this type that share one of these are one (redacted and loopback values aside)",
    )


class Match(Segment):
    """Which anomalies a rule speaks of; what is not set matches all."""

    domain: Domain | None = Field(None, description="the anomaly's domain")
    anomaly_type: AnomalyType | None = Field(None, description="the anomaly's type")
    rule: Glob | None = Field(None, description="the threshold's or pattern's name (glob)")
    metric: Glob | None = Field(None, description="the metric's name (glob)")
    service: Glob | None = Field(None, description="the service (glob)")
    device_type: Glob | None = Field(None, description="the device's type in the inventory (glob)")


class CorrelateRule(Segment):
    """Anomalies that match speak of this type of incident; what is set here goes before what the type says."""

    match: Match = Field(description="which anomalies")
    incident_type: Word = Field(description="a key of incident_types")
    keys: tuple[KeyName, ...] | None = Field(None, max_length=8, description="instead of the type's")
    window_s: float | None = Field(None, ge=1, le=86_400, description="instead of the type's")
    min_events: int | None = Field(None, ge=1, le=100, description="instead of the type's")
    hold_s: float | None = Field(None, ge=0, le=86_400, description="instead of the type's")
    severity: Severity | None = Field(None, description="instead of the anomalies' own")


class InhibitRule(Segment):
    """While an incident of a cause fires, those of its symptoms are its impact and not incidents of their own.

    The symptom's device must be the cause's, or depend on it in the device inventory.
    """

    cause: tuple[Word, ...] = Field(min_length=1, max_length=50, description="incident types")
    symptom: tuple[Word, ...] = Field(min_length=1, max_length=50, description="incident types")


class InhibitPolicy(Segment):
    """Causes and their symptoms."""

    rules: tuple[InhibitRule, ...] = Field((), max_length=100, description="what explains what")
    look_back_s: float = Field(
        600, ge=0, le=86_400, description="a symptom that opened at most this long before its cause is taken back"
    )
    lead_s: float = Field(
        60, ge=0, le=86_400, description="what had begun longer than this before its cause began is no symptom"
    )
    lag_s: float = Field(60, ge=0, le=3600, description="a cause seen in log lines explains for this long after each")
    surface_s: float = Field(
        360, ge=0, le=86_400, description="what still fires this long after its cause is resolved becomes an incident"
    )


class StormPolicy(Segment):
    """When there are too many incidents to tell one by one."""

    opened: int = Field(30, ge=2, le=10_000, description="incidents opened within within_s that make a storm")
    within_s: float = Field(300, ge=1, le=86_400, description="see opened")
    calm_s: float = Field(300, ge=1, le=86_400, description="it ends when fewer than half of opened came for this long")
    incident_type: Word = Field("incident_storm", description="a key of incident_types")


class SeverityPolicy(Segment):
    """How bad an anomaly is whose detector does not say."""

    score_map: dict[Annotated[float, Field(ge=0, le=1)], Severity] = Field(
        default_factory=lambda: {0.5: Severity.LOW}, max_length=20, description="from this score on, this severity"
    )


class CorrelatePolicy(Segment):
    """How anomalies become incidents."""

    incident_types: dict[Word, IncidentTypePolicy] = Field(min_length=1, max_length=200, description="by name")
    rules: tuple[CorrelateRule, ...] = Field(
        (),
        max_length=1000,
        description="the first that matches; a finding keeps its incident_type unless match names rule or device_type",
    )
    default_incident_type: Word = Field(description="where no rule matches")
    dedup_ttl_s: float = Field(900, ge=0, le=86_400, description="the same finding again within this is a duplicate")
    suppression_ttl_s: float = Field(
        1800, ge=0, le=604_800, description="within this after it resolved, the same key reopens the incident"
    )
    update_throttle_s: float = Field(
        10, ge=0, le=3600, description="updates of one incident are this far apart, later ones further"
    )
    forget_s: float = Field(
        2_592_000, ge=3600, le=31_536_000, description="an incident of which nothing more is heard is closed after this"
    )
    max_evidence: int = Field(50, ge=1, le=1000, description="anomalies listed in an incident; more are counted")
    max_timeline: int = Field(100, ge=4, le=1000, description="timeline entries kept in an incident")
    max_open_incidents: int = Field(1000, ge=1, le=100_000, description="incidents of a ship kept at once")
    severity: SeverityPolicy = Field(SeverityPolicy(), description="severity by score")
    inhibit: InhibitPolicy = Field(InhibitPolicy(), description="causes that explain symptoms")
    storm: StormPolicy = Field(StormPolicy(), description="too many incidents at once")

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = ", ".join(self.incident_types)
        for name in self._named_types():
            if name not in self.incident_types:
                raise ValueError(f"no incident type {name!r}; there are {known}")
        return self

    def _named_types(self) -> Iterator[str]:
        yield self.default_incident_type
        yield self.storm.incident_type
        yield from (rule.incident_type for rule in self.rules)
        for inhibit in self.inhibit.rules:
            yield from (*inhibit.cause, *inhibit.symptom)
