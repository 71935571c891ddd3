"""Findings become anomalies: what is published, and reads by itself."""

from datetime import UTC, datetime
from math import isfinite
from typing import NamedTuple

from operators.detect.choose import Detector
from operators.detect.finding import Finding
from operators.detect.log_series import LogFinding
from operators.detect.pattern import PatternRule
from operators.detect.pattern_series import Report
from operators.detect.templates import TemplateFinding
from schemas.anomaly import AnomalyDetected
from schemas.base import Domain, Pos
from schemas.event import Event
from schemas.identity import content_uuid
from schemas.telemetry import MetricSample

MAX_TEXT = 300


def metric_anomaly(
    event: Event, sample: MetricSample, series: str, detector: Detector, finding: Finding
) -> AnomalyDetected:
    """The anomaly of a detector's finding on one sample."""
    unit = f" ({sample.unit})" if sample.unit else ""
    name = f"{sample.metric_name}{unit} of {sample.device_id}/{sample.service}"
    return AnomalyDetected(
        tracking_id=sample.tracking_id,
        ship_id=sample.ship_id,
        anomaly_id=_anomaly_id(event.pos, series, detector.kind, detector.rule, finding.state, sample.tracking_id),
        pos=event.pos,
        ts=sample.ts,
        observed_at=event.at,
        state=finding.state,
        anomaly_type=detector.anomaly_type,
        detector=detector.kind,
        domain=sample.domain,
        service=sample.service,
        device_id=sample.device_id,
        series=series,
        metric_name=sample.metric_name,
        rule=detector.rule,
        incident_type=detector.incident_type,
        severity_hint=detector.severity,
        score=finding.score,
        metric_value=sample.metric_value,
        expected=_finite(finding.expected),
        lower=_finite(finding.lower),
        upper=_finite(finding.upper),
        unit=sample.unit,
        since=datetime.fromtimestamp(finding.since, UTC),
        evidence_ids=(sample.tracking_id,),
        msg=f"{name}: {finding.msg}",
    )


class LineSource(NamedTuple):
    """Whose lines a pattern series is made of."""

    ship_id: str
    domain: Domain
    service: str
    device_id: str


def pattern_anomaly(event: Event, series: str, rule: PatternRule, line: LineSource, report: Report) -> AnomalyDetected:
    """The anomaly of one report about lines that match a pattern."""
    hit = report.hit
    state = "cleared" if report.cleared else "firing"
    if report.cleared:
        msg = f"{line.device_id}/{line.service}: nothing matching {rule.name} since {_when(hit.ts)}"
    elif report.lines > 1:
        msg = f"{line.device_id}/{line.service}: {report.lines} lines match {rule.name}, first: {hit.text[:MAX_TEXT]}"
    else:
        msg = f"{line.device_id}/{line.service}: {rule.name}: {hit.text[:MAX_TEXT]}"
    return AnomalyDetected(
        tracking_id=hit.tracking_id,
        ship_id=line.ship_id,
        anomaly_id=_anomaly_id(event.pos, series, "pattern", rule.name, state, hit.tracking_id),
        pos=event.pos,
        ts=hit.ts,
        observed_at=report.at,
        state=state,
        anomaly_type="log_pattern",
        detector="pattern",
        domain=line.domain,
        service=line.service,
        device_id=line.device_id,
        series=series,
        rule=rule.name,
        incident_type=rule.incident_type,
        severity_hint=rule.severity,
        score=0.0 if report.cleared else 0.75,
        count=max(report.lines, 1),
        since=report.since,
        fields=hit.fields,
        evidence_ids=report.refs,
        msg=msg,
    )


def log_series_name(ship_id: str, finding: LogFinding) -> str:
    """The series that a finding about templates or rates belongs to."""
    if isinstance(finding, TemplateFinding):
        return f"{ship_id}/log:template:{finding.template.hash}"
    device, service = finding.origin
    return f"{ship_id}/{device}/{service}/log:storm"


def log_anomaly(
    event: Event, series: str, finding: LogFinding, source: LineSource, tracking_id: str, ts: datetime
) -> AnomalyDetected:
    """The anomaly of a finding about templates or rates."""
    is_template = isinstance(finding, TemplateFinding)
    detector = "template" if is_template else "storm"
    return AnomalyDetected(
        tracking_id=tracking_id,
        ship_id=source.ship_id,
        anomaly_id=_anomaly_id(event.pos, series, detector, None, finding.state, tracking_id),
        pos=event.pos,
        ts=ts,
        observed_at=finding.at,
        state=finding.state,
        anomaly_type="log_template" if is_template else "log_rate",
        detector=detector,
        domain=source.domain,
        service=source.service,
        device_id=source.device_id,
        series=series,
        score=finding.score,
        since=finding.since,
        fields={"template": finding.template.text[:MAX_TEXT], "template_hash": finding.template.hash},
        evidence_ids=(tracking_id,),
        msg=f"{source.device_id}/{source.service}: {finding.msg}",
    )


def cleared_anomaly(
    event: Event, sample: MetricSample, series: str, detector: Detector, reason: str
) -> AnomalyDetected:
    """What still fired when nobody watches it any more is cleared, saying why."""
    finding = Finding("cleared", 0.0, None, None, None, sample.ts.timestamp(), reason)
    return metric_anomaly(event, sample, series, detector, finding)


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity: a bound without end is no bound."""
    return value if value is not None and isfinite(value) else None


def _anomaly_id(pos: Pos, series: str, detector: str, rule: str | None, state: str, tracking_id: str) -> str:
    """Its place as well: a sender may use one tracking id twice."""
    return content_uuid("anomaly", str(pos[0]), str(pos[1]), series, detector, rule or "", state, tracking_id)


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
