"""archive: what each thing of the log becomes in ClickHouse. Pure: no clock, no I/O, no state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from operators.clickhouse.rows import (
    Arrival,
    Row,
    anomaly_row,
    audit_row,
    dead_letter_row,
    device_row,
    incident_row,
    insight_row,
    log_row,
    sample_row,
    suppression_row,
)
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import first_problem
from schemas.dead_letter import DeadLetter
from schemas.event import Event, RawMessage
from schemas.identity import content_uuid
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentCompleted
from schemas.ops import AuditEvent, Device
from schemas.telemetry import LogMessage, MetricSample


def event_row(event: Event) -> Row | None:
    """The row of one telemetry event; None for what is not stored (commands are audited instead, ticks are time)."""
    body = event.body
    if isinstance(body, LogMessage):
        return log_row(body, event.pos)
    if isinstance(body, MetricSample):
        return sample_row(body, event.pos)
    if isinstance(body, Device):
        return device_row(body, Arrival(event.at, event.pos[0]))
    return None


class UnreadableError(ValueError):
    """A message that should be stored but cannot be read; the text says why."""


_Reader = Callable[[bytes, Arrival], Row]


def _anomaly_detected(data: bytes, arrival: Arrival) -> Row:
    return anomaly_row(AnomalyDetected.model_validate_json(data), arrival, data.decode())


def _anomaly_enriched(data: bytes, arrival: Arrival) -> Row:
    return anomaly_row(AnomalyEnriched.model_validate_json(data), arrival, data.decode())


def _incident(data: bytes, arrival: Arrival) -> Row:
    return incident_row(IncidentPublished.model_validate_json(data), arrival, data.decode())


def _insight(data: bytes, arrival: Arrival) -> Row:
    return insight_row(EnrichmentCompleted.model_validate_json(data), arrival, data.decode())


def _audit(data: bytes, arrival: Arrival) -> Row:
    return audit_row(AuditEvent.model_validate_json(data), arrival, data.decode())


def _suppression(data: bytes, arrival: Arrival) -> Row:
    return suppression_row(SuppressionRecord.model_validate_json(data), arrival, data.decode())


def _dead_letter(data: bytes, arrival: Arrival) -> Row:
    return dead_letter_row(DeadLetter.model_validate_json(data), arrival)


READERS: Final[tuple[tuple[str, _Reader], ...]] = (
    ("anomaly.detected.", _anomaly_detected),
    ("anomaly.enriched.", _anomaly_enriched),
    ("incidents.", _incident),
    ("enrichment.completed", _insight),
    ("ops.audit", _audit),
    ("ops.suppression", _suppression),
    ("dlq.", _dead_letter),
)
"""Which subjects (exact, or all that begin with it when it ends in a dot) become which rows."""

NOT_STORED: Final = ("enrichment.request", "anomaly.tick", "anomaly.command", "anomaly.device")
"""Messages between flows that say nothing which is not stored elsewhere."""


@dataclass(frozen=True)
class Archiver:
    """Turns messages of all streams but TELEMETRY into rows; ship_id stands on what cannot be read."""

    ship_id: str

    def row(self, raw: RawMessage) -> Row | None:
        """The row of one message; None for what is not stored.

        Raises:
            UnreadableError: for a subject nobody knows or a message that is not of its class.
        """
        if raw.tick or raw.subject.startswith(NOT_STORED):
            return None
        for subject, read in READERS:
            if raw.subject == subject or (subject[-1] == "." and raw.subject.startswith(subject)):
                try:
                    return read(raw.data, Arrival(raw.observed_at, raw.sequence))
                except ValidationError as error:
                    raise UnreadableError(_explain(error)) from error
        raise UnreadableError(f"no reader for subject {raw.subject!r}")

    def dead_letter(self, raw: RawMessage, reason: str) -> Row:
        """The row that keeps a message which cannot be read, whole, with the reason; always the same id."""
        letter = DeadLetter.of(
            raw.data,
            dead_letter_id=content_uuid("archive", raw.stream, str(raw.identity), str(raw.sequence)),
            ship_id=self.ship_id,
            stream=raw.stream,
            pos=(raw.sequence, 0),
            subject=raw.subject,
            observed_at=raw.observed_at,
            reason=reason,
        )
        return dead_letter_row(letter, Arrival(raw.observed_at, raw.sequence))


def _explain(error: ValidationError) -> str:
    """The first problem: where, what, what was given."""
    where, what, given = first_problem(error)
    return f"{where or 'message'}: {what}, got {given!r:.80}"[:500]
