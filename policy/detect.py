"""detect: which detectors watch what, and when they fire."""

from typing import Self

from pydantic import Field, model_validator

from policy.base import Segment, Word
from policy.detect_logs import PatternRule, RatePolicy, TemplatePolicy
from policy.detect_metrics import MetricRule, OutlierPolicy, ThresholdRule, ZScoreRule
from policy.detect_parameters import CustomDetector, DetectorParameters, Named, check_names
from policy.detect_silence import SilencePolicy


class DetectPolicy(Segment):
    """The detectors."""

    thresholds: dict[Word, ThresholdRule] = Field(default_factory=dict, max_length=1000, description="by name")
    metrics: dict[Word, MetricRule] = Field(
        default_factory=dict, max_length=1000, description="by name; the first that matches speaks of a metric"
    )
    outliers: OutlierPolicy = Field(OutlierPolicy(), description="which outlier detectors, and how sure they must be")
    zscore: ZScoreRule = Field(ZScoreRule(), description="River rolling z-score")
    parameters: DetectorParameters = Field(DetectorParameters(), description="how the other outlier detectors learn")
    custom: dict[Word, CustomDetector] = Field(
        default_factory=dict, max_length=100, description="outlier detectors of one's own, by the name to use in lists"
    )
    silence: SilencePolicy = Field(SilencePolicy(), description="series, devices and ships that no longer speak")
    patterns: dict[Word, PatternRule] = Field(default_factory=dict, max_length=500, description="by name")
    log_series: bool = Field(True, description="whether templates and rates are watched")
    templates: TemplatePolicy = Field(TemplatePolicy(), description="templates of log lines")
    rates: RatePolicy = Field(RatePolicy(), description="rates of log lines")
    pattern_burst: int = Field(5, ge=1, le=100, description="lines of one series reported one by one in a period")
    pattern_repeat_s: float = Field(10, ge=1, le=3600, description="the period; later lines are reported together")
    pattern_clear_s: float = Field(300, ge=1, le=86_400, description="seconds without a match after which it clears")
    series_expiry_s: float = Field(
        604_800, ge=3600, le=31_536_000, description="a series silent for so long is forgotten"
    )
    max_series: int = Field(100_000, ge=64, le=10_000_000, description="series watched at most; more are counted")

    @model_validator(mode="after")
    def _check_detectors(self) -> Self:
        named: Named = {("outliers", "detectors"): self.outliers.detectors}
        named |= {("metrics", name, "detectors"): rule.detectors or () for name, rule in self.metrics.items()}
        check_names(named, self.custom)
        return self
