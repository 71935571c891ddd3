"""Which detectors watch a metric series: policy's thresholds, and the outlier detectors of its rule."""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from operators.detect.ewma import Ewma, EwmaSettings, ewma_settings
from operators.detect.finding import MetricDetector
from operators.detect.flat import Flat
from operators.detect.hysteresis import Hysteresis
from operators.detect.mad import Mad
from operators.detect.record_surprise import RecordSurprise
from operators.detect.seasonal import Seasonal
from operators.detect.threshold import Threshold
from operators.detect.vote import Vote, Voter
from operators.detect.zscore import ZScore
from policy import Policy
from policy.detect_metrics import MetricRule, OutlierPolicy, ThresholdRule, ZScoreRule
from schemas.base import Severity
from schemas.telemetry import MetricSample


class Detector(NamedTuple):
    """A detector in its place: its kind, the policy rule it serves and what that rule says of a finding."""

    kind: str
    anomaly_type: str
    rule: str | None
    severity: Severity | None
    incident_type: str | None
    machine: MetricDetector


def choose_detectors(policy: Policy, sample: MetricSample) -> list[Detector]:
    """The detectors that policy sets for the series of this sample, in a fixed order."""
    return [*_thresholds(policy, sample), *_outliers(policy, sample)]


def metric_rule(policy: Policy, sample: MetricSample) -> MetricRule:
    """The first rule of policy.detect.metrics that speaks of this sample; an empty one when none does."""
    return next((rule for rule in policy.detect.metrics.values() if _matches(rule, sample)), _NO_RULE)


_NO_RULE = MetricRule(metric="*")


def _matches(rule: MetricRule | ThresholdRule, sample: MetricSample) -> bool:
    return (
        fnmatchcase(sample.metric_name, rule.metric)
        and rule.domain in (None, sample.domain)
        and fnmatchcase(sample.service, rule.service)
    )


def _thresholds(policy: Policy, sample: MetricSample) -> list[Detector]:
    return [
        Detector(
            "threshold",
            "metric_threshold",
            name,
            rule.severity,
            rule.incident_type,
            Threshold(above=rule.above, below=rule.below, clear=rule.clear, hold_s=rule.hold_s),
        )
        for name, rule in policy.detect.thresholds.items()
        if _matches(rule, sample)
    ]


def _outliers(policy: Policy, sample: MetricSample) -> list[Detector]:
    rule = metric_rule(policy, sample)
    names = rule.detectors if rule.detectors is not None else policy.detect.outliers.detectors
    voters = [Voter(name, machine) for name in names if (machine := _machine(name, policy, rule, sample)) is not None]
    if not voters:
        return []
    if len(voters) == 1:
        kind, machine = voters[0]
    else:
        kind, machine = "vote", Vote(voters, _hysteresis(policy.detect.outliers))
    severity = rule.severity if rule.severity is not None else policy.detect.zscore.severity
    return [Detector(kind, "metric_outlier", None, severity, rule.incident_type, machine)]


def _hysteresis(outliers: OutlierPolicy) -> Hysteresis:
    return Hysteresis(
        min_hold_s=outliers.min_hold_s,
        flap_count=outliers.flap_count,
        flap_window_s=outliers.flap_window_s,
        calm_s=outliers.calm_s,
    )


def _machine(name: str, policy: Policy, rule: MetricRule, sample: MetricSample) -> MetricDetector | None:
    """A new detector of that name; None where its own rule leaves this metric out."""
    outliers = policy.detect.outliers
    risk = outliers.risk_per_sample
    if name == "zscore":
        return _zscore(policy.detect.zscore, sample)
    if name == "ewma":
        return Ewma(_ewma_settings(risk, rule.direction, rule.min_deviation, outliers.min_std_fraction))
    if name == "mad":
        return Mad(
            risk=risk,
            direction=rule.direction,
            min_deviation=rule.min_deviation,
            min_std_fraction=outliers.min_std_fraction,
        )
    if name == "seasonal":
        return Seasonal(
            risk=risk,
            direction=rule.direction,
            min_deviation=rule.min_deviation,
            min_std_fraction=outliers.min_std_fraction,
        )
    if name == "record_surprise":
        return RecordSurprise(risk=outliers.risk)
    return Flat(risk=risk)


@lru_cache(maxsize=256)
def _ewma_settings(risk: float, direction: str, min_deviation: float, min_std_fraction: float) -> EwmaSettings:
    """Shared by all series of the same rule: 100,000 copies would be most of their memory."""
    return ewma_settings(
        risk=risk,
        direction=direction,  # type: ignore[arg-type]  # policy has checked it
        min_deviation=min_deviation,
        min_std_fraction=min_std_fraction,
    )


def _zscore(rule: ZScoreRule, sample: MetricSample) -> ZScore | None:
    name = sample.metric_name
    wanted = any(fnmatchcase(name, glob) for glob in rule.metrics)
    if not rule.enabled or not wanted or any(fnmatchcase(name, glob) for glob in rule.exclude):
        return None
    return ZScore(
        window=rule.window,
        min_samples=rule.min_samples,
        fire=rule.fire,
        clear=rule.clear,
        hold_samples=rule.hold_samples,
        min_std=rule.min_std,
        min_std_fraction=rule.min_std_fraction,
    )
