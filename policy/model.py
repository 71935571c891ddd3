"""The whole policy of one ship, and the master file."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from policy.base import Segment
from policy.correlate import CorrelatePolicy
from policy.detect import DetectPolicy
from policy.detect_logs import PatternRule
from policy.detect_metrics import MetricRule, ThresholdRule
from policy.enrich import EnrichPolicy
from policy.ingest import IngestPolicy
from policy.llm import LlmPolicy
from policy.maintenance import MaintenancePolicy
from policy.notify import NotifyPolicy
from policy.privacy import PrivacyPolicy
from policy.remediate import RemediatePolicy
from policy.retention import RetentionPolicy
from policy.slo import SloPolicy

Profile = Literal["poc", "core-fast", "full"]
ShipName = Annotated[str, Field(min_length=1, max_length=256)]


class Features(Segment):
    """What is switched on."""

    enrichment: bool = Field(True, description="context from ClickHouse")
    llm: bool = Field(False, description="explanations by a local LLM")
    rag: bool = Field(False, description="similar incidents and runbooks for the LLM")
    notify: bool = Field(False, description="notifications")
    remediate: bool = Field(False, description="actions")


class Policy(Segment):
    """Everything in force for one ship."""

    profile: Profile = Field("poc", description="which set of overrides applies")
    features: Features = Field(Features(), description="what is switched on")
    ingest: IngestPolicy = Field(description="what is let in")
    detect: DetectPolicy = Field(description="the detectors")
    enrich: EnrichPolicy = Field(description="context for anomalies")
    correlate: CorrelatePolicy = Field(description="how anomalies become incidents")
    maintenance: MaintenancePolicy = Field(description="what is held back on purpose")
    llm: LlmPolicy = Field(description="the local LLM")
    notify: NotifyPolicy = Field(description="who is told")
    remediate: RemediatePolicy = Field(description="what is done")
    retention: RetentionPolicy = Field(description="how long things are kept")
    privacy: PrivacyPolicy = Field(description="personal data")
    slo: SloPolicy = Field(description="what is promised")

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = self.correlate.incident_types
        detect = self.detect
        rules: dict[str, ThresholdRule | MetricRule | PatternRule] = {
            **detect.thresholds,
            **detect.metrics,
            **detect.patterns,
        }
        for name, rule in rules.items():
            if rule.incident_type is not None and rule.incident_type not in known:
                raise ValueError(f"{name}: no incident type {rule.incident_type!r}; there are {', '.join(known)}")
        for named in self.enrich.severity.at_least:
            if named not in known:
                raise ValueError(f"enrich.severity.at_least: no incident type {named!r}; there are {', '.join(known)}")
        return self


SEGMENTS = tuple(name for name in Policy.model_fields if name not in ("profile", "features"))


class Master(Segment):
    """policy.yaml: the profile, and what a profile or a ship changes."""

    profile: Profile = Field("poc", description="which of the profiles this installation runs")
    features: dict[str, Any] = Field(default_factory=dict, max_length=100, description="what is switched on")
    profiles: dict[Profile, dict[str, Any]] = Field(
        default_factory=dict, max_length=3, description="changes to segments and features, by profile"
    )
    ships: dict[ShipName, dict[str, Any]] = Field(
        default_factory=dict, max_length=10_000, description="changes to segments and features, by ship"
    )
