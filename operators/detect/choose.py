"""Which detectors watch a metric series: policy's thresholds, and the outlier detectors of its rule."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Final, NamedTuple

from operators.detect.custom import build_custom
from operators.detect.ewma import Ewma, ewma_settings
from operators.detect.finding import MetricDetector
from operators.detect.flat import Flat, flat_settings
from operators.detect.hysteresis import Hysteresis
from operators.detect.mad import Mad, mad_settings
from operators.detect.record_surprise import RecordSurprise
from operators.detect.seasonal import Seasonal, seasonal_settings
from operators.detect.threshold import Threshold
from operators.detect.vote import Vote, Voter
from operators.detect.zscore import ZScore, zscore_settings
from policy import Policy
from policy.detect import DetectPolicy
from policy.detect_metrics import MetricRule, ThresholdRule
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


class Place(NamedTuple):
    """What a builder may know: the policy, the rule that speaks of the metric, and its name."""

    detect: DetectPolicy
    rule: MetricRule
    metric_name: str


RECORDS_SHARE: Final = 0.5
"""Part of a series' risk that record_surprise may take: it votes with others, and sees the most."""

Builder = Callable[[Place], MetricDetector | None]
"""Gives a new detector; None where its own rule leaves the metric out."""


class Chosen(NamedTuple):
    """What policy says of one kind of series: looked up once, for as many series as there are."""

    thresholds: tuple[tuple[str, ThresholdRule], ...]
    place: Place
    outliers: tuple[tuple[str, Builder], ...]

    def detectors(self) -> list[Detector]:
        """New detectors for one series, in a fixed order."""
        return [*_thresholds(self), *_outliers(self)]


def choose(policy: Policy, sample: MetricSample) -> Chosen:
    """What policy sets for the series of this sample, and all others of its domain, service and metric."""
    detect, rule = policy.detect, metric_rule(policy, sample)
    names = rule.detectors if rule.detectors is not None else detect.outliers.detectors
    thresholds = tuple((name, each) for name, each in detect.thresholds.items() if _matches(each, sample))
    return Chosen(thresholds, Place(detect, rule, sample.metric_name), tuple((name, _builder(name)) for name in names))


def choose_detectors(policy: Policy, sample: MetricSample) -> list[Detector]:
    """The detectors that policy sets for the series of this sample, in a fixed order."""
    return choose(policy, sample).detectors()


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


def _thresholds(chosen: Chosen) -> list[Detector]:
    return [
        Detector(
            "threshold",
            "metric_threshold",
            name,
            rule.severity,
            rule.incident_type,
            Threshold(above=rule.above, below=rule.below, clear=rule.clear, hold_s=rule.hold_s),
        )
        for name, rule in chosen.thresholds
    ]


def _outliers(chosen: Chosen) -> list[Detector]:
    place = chosen.place
    voters = [Voter(name, machine) for name, new in chosen.outliers if (machine := new(place)) is not None]
    if not voters:
        return []
    rule, outliers = place.rule, place.detect.outliers
    steady = _steady(outliers.min_hold_s, outliers.flap_count, outliers.flap_window_s, outliers.calm_s)
    kind = voters[0].name if len(voters) == 1 else "vote"
    severity = rule.severity if rule.severity is not None else place.detect.zscore.severity
    return [Detector(kind, "metric_outlier", None, severity, rule.incident_type, Vote(voters, steady))]


def build(name: str, place: Place) -> MetricDetector | None:
    """A new detector of that name: one that ships, or one of policy.detect.custom."""
    return _builder(name)(place)


def _builder(name: str) -> Builder:
    return SHIPPED.get(name) or partial(_custom, name)


def _custom(name: str, place: Place) -> MetricDetector | None:
    return build_custom(place.detect.custom[name], place.detect.outliers.risk_per_sample)


@lru_cache(maxsize=64)
def _steady(min_hold_s: float, flap_count: int, flap_window_s: float, calm_s: float) -> Callable[[], Hysteresis]:
    """Shared by all series of the same policy."""
    return partial(Hysteresis, min_hold_s=min_hold_s, flap_count=flap_count, flap_window_s=flap_window_s, calm_s=calm_s)


def _zscore(place: Place) -> ZScore | None:
    own, name = place.detect.zscore, place.metric_name
    wanted = any(fnmatchcase(name, glob) for glob in own.metrics)
    if not own.enabled or not wanted or any(fnmatchcase(name, glob) for glob in own.exclude):
        return None
    return ZScore(
        zscore_settings(
            window=own.window,
            min_samples=own.min_samples,
            fire=own.fire,
            clear=own.clear,
            hold_samples=own.hold_samples,
            min_std=own.min_std,
            min_std_fraction=own.min_std_fraction,
            direction=place.rule.direction,
            min_deviation=place.rule.min_deviation,
        )
    )


def _ewma(place: Place) -> Ewma:
    own, outliers = place.detect.parameters.ewma, place.detect.outliers
    return Ewma(
        ewma_settings(
            risk=outliers.risk_per_sample,
            fading=own.fading,
            min_samples=own.min_samples,
            hold_samples=own.hold_samples,
            relearn=own.relearn_samples,
            min_std_fraction=outliers.min_std_fraction,
            direction=place.rule.direction,
            min_deviation=place.rule.min_deviation,
        )
    )


def _mad(place: Place) -> Mad:
    own, outliers = place.detect.parameters.mad, place.detect.outliers
    return Mad(
        mad_settings(
            risk=outliers.risk_per_sample,
            window=own.window,
            min_samples=own.min_samples,
            hold_samples=own.hold_samples,
            min_std_fraction=outliers.min_std_fraction,
            direction=place.rule.direction,
            min_deviation=place.rule.min_deviation,
        )
    )


def _seasonal(place: Place) -> Seasonal:
    own, outliers = place.detect.parameters.seasonal, place.detect.outliers
    return Seasonal(
        seasonal_settings(
            risk=outliers.risk_per_sample,
            fading=own.fading,
            min_weeks=own.min_weeks,
            hold_samples=own.hold_samples,
            min_std_fraction=outliers.min_std_fraction,
            direction=place.rule.direction,
            min_deviation=place.rule.min_deviation,
        )
    )


def _flat(place: Place) -> Flat:
    own = place.detect.parameters.flat
    return Flat(
        flat_settings(
            risk=place.detect.outliers.risk_per_sample,
            min_s=own.min_s,
            warmup_s=own.warmup_s,
            min_changes=own.min_changes,
        )
    )


def _record_surprise(place: Place) -> RecordSurprise:
    return RecordSurprise(
        risk=place.detect.outliers.risk * RECORDS_SHARE,
        direction=place.rule.direction,
        min_deviation=place.rule.min_deviation,
    )


SHIPPED: Final[dict[str, Builder]] = {
    "zscore": _zscore,
    "ewma": _ewma,
    "mad": _mad,
    "seasonal": _seasonal,
    "flat": _flat,
    "record_surprise": _record_surprise,
}
"""How each shipped outlier detector is built, by the name that policy uses (policy.detect_parameters.DETECTORS)."""
