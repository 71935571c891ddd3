"""From messages to rows: one pure function a table.

Times are microseconds since 1970 (DateTime64(6)). What is None in a LowCardinality column is
written as the empty text. body is the message exactly as it was published.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import to_json

from operators.mask import template_hash
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import Pos
from schemas.dead_letter import DeadLetter
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentCompleted
from schemas.ops import AuditEvent, Device
from schemas.telemetry import LogMessage, MetricSample, series_id

Values = tuple[Any, ...]


class Row(NamedTuple):
    """One row of a table, its values in the order of COLUMNS[table]."""

    table: str
    values: Values


class Arrival(NamedTuple):
    """Where a message is in JetStream: time it was stored (aware UTC) and sequence."""

    published_at: datetime
    stream_seq: int


COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    table: tuple(names.split())
    for table, names in {
        "logs": """tracking_id ship_id ts observed_at stream_seq stream_index arrival domain service device_id level
            msg template meta error_msg""",
        "samples": """tracking_id ship_id ts observed_at stream_seq stream_index arrival domain service device_id
            metric_name metric_value unit labels series error_msg""",
        "anomalies": """anomaly_id stage tracking_id ship_id pos_sequence pos_index ts observed_at published_at
            stream_seq state anomaly_type detector domain service device_id series metric_name rule incident_type
            severity_hint severity severity_reason score metric_value expected lower upper unit count since fields
            fingerprint context votes evidence_ids msg error_msg body""",
        "incidents": """incident_id revision event tracking_id ship_id published_at stream_seq incident_type severity
            status domain title corr_keys suppress_key fingerprint scope_device_ids scope_services opened_at updated_at
            resolved_at anomaly_count duplicate_count evidence_refs evidence_tracking_ids evidence_dropped runbook_refs
            assignee narrative merged_into successor_of inhibited_by error_msg body""",
        "suppressions": """record_id tracking_id ship_id ts published_at stream_seq kind by until reason anomaly_id
            incident_id fingerprint suppress_key error_msg body""",
        "insights": """request_id version incident_id tracking_id ship_id published_at stream_seq source narrative
            confidence runbook_refs evidence_refs similar model prompt_hash latency_ms tokens completed_at error_msg
            body""",
        "audit": """audit_id tracking_id ship_id ts published_at stream_seq command_id action by outcome reason
            incident_id error_msg body""",
        "dead_letters": """dead_letter_id ship_id stream sequence index subject observed_at published_at stream_seq
            reason size truncated encoding payload""",
        "devices": """ship_id device_id device_type vendor model location criticality depends_on removed published_at
            stream_seq""",
    }.items()
}
"""The columns that rows are written with, by table."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Microseconds since 1970.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def arrival_of(pos: Pos) -> int:
    """A position in the stream as one number that sorts alike (a message has at most 1,000,000 items).

    >>> arrival_of((2, 0)) > arrival_of((1, 999_999)) > arrival_of((1, 0))
    True
    """
    return pos[0] << 20 | pos[1]


def _json(value: dict[str, Any]) -> str:
    return to_json(value).decode() if value else "{}"


def log_row(line: LogMessage, pos: Pos) -> Row:
    """A log line as decode and admit let it pass, with the hash of its masked form."""
    return Row(
        "logs",
        (
            line.tracking_id,
            line.ship_id,
            micros(line.ts),
            micros(line.observed_at),
            pos[0],
            pos[1],
            arrival_of(pos),
            line.domain,
            line.service,
            line.device_id,
            line.level.value,
            line.msg,
            template_hash(line.msg),
            _json(line.meta),
            line.error_msg,
        ),
    )


def sample_row(sample: MetricSample, pos: Pos) -> Row:
    """A metric sample."""
    return Row(
        "samples",
        (
            sample.tracking_id,
            sample.ship_id,
            micros(sample.ts),
            micros(sample.observed_at),
            pos[0],
            pos[1],
            arrival_of(pos),
            sample.domain,
            sample.service,
            sample.device_id,
            sample.metric_name,
            sample.metric_value,
            sample.unit or "",
            _json(sample.labels),
            series_id(sample),
            sample.error_msg,
        ),
    )


def _row(table: str, message: Any, arrival: Arrival, **derived: Any) -> Row:
    """The columns by name: derived ones as given, the others are fields of the message."""
    derived.update(published_at=micros(arrival.published_at), stream_seq=arrival.stream_seq)
    values = (derived[name] if name in derived else _plain(getattr(message, name)) for name in COLUMNS[table])
    return Row(table, tuple(values))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value)
    return list(value) if isinstance(value, tuple) else value


def anomaly_row(
    anomaly: AnomalyDetected, arrival: Arrival, body: str, stage: Literal["detected", "enriched"] | None = None
) -> Row:
    """A finding, before (detected) or after it got its context (enriched)."""
    enriched = anomaly if isinstance(anomaly, AnomalyEnriched) else None
    return _row(
        "anomalies",
        anomaly,
        arrival,
        body=body,
        stage=stage or ("detected" if enriched is None else "enriched"),
        pos_sequence=anomaly.pos[0],
        pos_index=anomaly.pos[1],
        severity_hint="" if anomaly.severity_hint is None else anomaly.severity_hint.value,
        severity="" if enriched is None else enriched.severity.value,
        severity_reason="" if enriched is None else enriched.severity_reason,
        context="{}" if enriched is None else enriched.context.model_dump_json(),
        fields=_json(anomaly.fields),
        votes=to_json(anomaly.votes).decode(),
    )


def incident_row(incident: IncidentPublished, arrival: Arrival, body: str) -> Row:
    """One revision of an incident."""
    return _row(
        "incidents",
        incident,
        arrival,
        body=body,
        severity=incident.severity.value,
        corr_keys=_json(incident.corr_keys),
        scope_device_ids=[scope.device_id for scope in incident.scope],
        scope_services=[scope.service for scope in incident.scope],
        evidence_refs=[evidence.ref for evidence in incident.evidence],
        evidence_tracking_ids=[evidence.tracking_id for evidence in incident.evidence],
    )


def suppression_row(record: SuppressionRecord, arrival: Arrival, body: str) -> Row:
    """What was held back, and why."""
    return _row("suppressions", record, arrival, body=body)


def insight_row(insight: EnrichmentCompleted, arrival: Arrival, body: str) -> Row:
    """One version of an explanation."""
    return _row("insights", insight, arrival, body=body)


def audit_row(event: AuditEvent, arrival: Arrival, body: str) -> Row:
    """What became of a command."""
    return _row("audit", event, arrival, body=body)


def dead_letter_row(letter: DeadLetter, arrival: Arrival) -> Row:
    """An input that could not be read."""
    return _row("dead_letters", letter, arrival)


def device_row(device: Device, arrival: Arrival) -> Row:
    """An entry of the inventory."""
    return _row("devices", device, arrival)


def as_text(table: str, values: Sequence[Any]) -> str:
    """A row as JSON in plain ASCII, whatever is in it."""
    return json.dumps(dict(zip(COLUMNS[table], values, strict=False)), default=repr)
