"""Findings become anomalies: what is published, and reads by itself."""

from datetime import UTC, datetime
from math import isfinite
from typing import NamedTuple

from operators.detect.finding import Finding
from operators.detect.log_series import LogFinding
from operators.detect.metric_series import MetricSeries, Role, Subject
from operators.detect.pattern import PatternRule
from operators.detect.pattern_series import Report
from operators.detect.templates import TemplateFinding
from schemas.anomaly import AnomalyDetected, DetectorVote
from schemas.base import Domain, Pos, Severity
from schemas.event import Event
from schemas.identity import content_uuid
from schemas.telemetry import MetricSample

MAX_TEXT = 300


def metric_anomaly(event: Event, sample: MetricSample, series: str, role: Role, finding: Finding) -> AnomalyDetected:
    """The anomaly of a detector's finding on one sample."""
    subject = Subject(sample.domain, sample.service, sample.metric_name, sample.unit)
    source = _Sampled(subject, sample.ship_id, sample.device_id, sample.tracking_id, sample.ts, sample.metric_value)
    return _metric_anomaly(event, source, series, role, finding)


def cleared_anomaly(event: Event, known: MetricSeries, series: str, role: Role, reason: str) -> AnomalyDetected:
    """What still fired when nobody watches it any more is cleared, saying why, under its last sample's tracking id."""
    ts = datetime.fromtimestamp(known.last_at, UTC)
    source = _Sampled(known.watch.subject, *known.place, known.tracking_id, ts, None)
    return _metric_anomaly(
        event, source, series, role, Finding("cleared", 0.0, None, None, None, known.last_at, reason)
    )


class _Sampled(NamedTuple):
    """The sample that an anomaly is about, as far as it is known."""

    subject: Subject
    ship_id: str
    device_id: str
    tracking_id: str
    ts: datetime
    value: float | None


def _metric_anomaly(event: Event, source: _Sampled, series: str, role: Role, finding: Finding) -> AnomalyDetected:
    domain, service, metric_name, metric_unit = source.subject
    unit = f" ({metric_unit})" if metric_unit else ""
    tracking_id = source.tracking_id
    return AnomalyDetected(
        tracking_id=tracking_id,
        ship_id=source.ship_id,
        anomaly_id=anomaly_id(event.pos, series, role.kind, role.rule, finding.state, tracking_id),
        pos=event.pos,
        ts=source.ts,
        observed_at=event.at,
        state=finding.state,
        anomaly_type=role.anomaly_type,
        detector=role.kind,
        domain=domain,
        service=service,
        device_id=source.device_id,
        series=series,
        metric_name=metric_name,
        rule=role.rule,
        incident_type=role.incident_type,
        severity_hint=role.severity,
        score=finding.score,
        metric_value=source.value,
        expected=_finite(finding.expected),
        lower=_finite(finding.lower),
        upper=_finite(finding.upper),
        unit=metric_unit,
        since=datetime.fromtimestamp(finding.since, UTC),
        votes=_votes(role.kind, finding),
        flapping=finding.flapping,
        evidence_ids=(tracking_id,),
        msg=f"{metric_name}{unit} of {source.device_id}/{service}: {finding.msg}",
    )


class LineSource(NamedTuple):
    """Whose lines a pattern series is made of."""

    ship_id: str
    domain: Domain
    service: str
    device_id: str


def _votes(kind: str, finding: Finding) -> tuple[DetectorVote, ...]:
    """What each firing detector says; a finding that is nobody's sum is its own only vote."""
    if finding.state == "cleared":
        return ()
    return tuple(
        DetectorVote(
            detector=name,
            score=said.score,
            statistic=_finite(said.statistic),
            bound=_finite(said.bound),
            expected=_finite(said.expected),
            lower=_finite(said.lower),
            upper=_finite(said.upper),
            since=datetime.fromtimestamp(said.since, UTC),
            msg=said.msg,
        )
        for name, said in finding.votes or ((kind, finding),)
    )


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
        anomaly_id=anomaly_id(event.pos, series, "pattern", rule.name, state, hit.tracking_id),
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
    event: Event,
    series: str,
    finding: LogFinding,
    source: LineSource,
    tracking_id: str,
    ts: datetime,
    *,
    incident_type: str | None = None,
    severity: Severity | None = None,
) -> AnomalyDetected:
    """The anomaly of a finding about templates or rates; severity is that of a new template.

    fields.template is Drain's text, which may grow more general; fields.template_hash is stateless:
    the archive's rows of such lines have it as `template`.
    """
    is_template = isinstance(finding, TemplateFinding)
    detector = "template" if is_template else "storm"
    return AnomalyDetected(
        tracking_id=tracking_id,
        ship_id=source.ship_id,
        anomaly_id=anomaly_id(event.pos, series, detector, None, finding.state, tracking_id),
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
        incident_type=incident_type,
        severity_hint=severity if is_template else None,
        score=finding.score,
        since=finding.since,
        fields={"template": finding.template.text[:MAX_TEXT], "template_hash": finding.template.hash},
        evidence_ids=(tracking_id,),
        msg=f"{source.device_id}/{source.service}: {finding.msg}",
    )


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity: a bound without end is no bound."""
    return value if value is not None and isfinite(value) else None


def anomaly_id(pos: Pos, series: str, detector: str, rule: str | None, state: str, tracking_id: str) -> str:
    """The id of an anomaly, by its place as well: a sender may use one tracking id twice."""
    return content_uuid("anomaly", str(pos[0]), str(pos[1]), series, detector, rule or "", state, tracking_id)


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
