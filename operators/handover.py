"""handover: the events of the spine through ANOMALIES, where detect and correlate are processes of their own."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from pydantic import ValidationError

from operators.enrich.saved import load_event, save_event
from operators.observability import FlowMetrics
from operators.publish import outgoing
from schemas.anomaly import AnomalyDetected
from schemas.base import first_problem
from schemas.dead_letter import DeadLetter
from schemas.event import Event, Outgoing, RawMessage
from schemas.identity import content_uuid
from schemas.ops import Device, OpsCommand, OpsTick

_SUBJECTS = {OpsTick: "anomaly.tick", OpsCommand: "anomaly.command", Device: "anomaly.device"}
_PASSED_ON = frozenset(_SUBJECTS.values())

log = structlog.get_logger()


def handed_over(event: Event) -> Outgoing | None:
    """An event as detect publishes it for correlate; None for what correlate does not read.

    A finding is published as it always is. A tick, a command or a device keeps its place and its log
    time in the message, so that correlate sees what it would have seen in one process.
    """
    body = event.body
    if isinstance(body, AnomalyDetected):
        return outgoing(body)
    subject = _SUBJECTS.get(type(body))
    if subject is None:
        return None
    sequence, index = event.pos
    msg_id = f"{subject}:{sequence}:{index}:{event.at.isoformat()}"
    return Outgoing("ANOMALIES", subject, msg_id, json.dumps(save_event(event)).encode())


def read_handed_over(raw: RawMessage) -> Event | None:
    """The event of a message of ANOMALIES; None for what is not handed over (what correlate itself enriched).

    Raises:
        ValueError: for a message that cannot be read.
    """
    if raw.subject.startswith("anomaly.detected."):
        found = AnomalyDetected.model_validate_json(raw.data)
        return Event(found.pos, found.observed_at, found)
    if raw.subject in _PASSED_ON:
        saved = json.loads(raw.data)
        try:
            return load_event(saved)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an event that detect passes on: {error!r}") from error
    if raw.subject.startswith("anomaly.enriched."):
        return None
    raise ValueError(f"no reader for subject {raw.subject!r}")


@dataclass(frozen=True)
class TakenOver:
    """The two streams that leave take_over."""

    events: Stream[Event]
    dead_letters: Stream[DeadLetter]


@operator
def take_over(step_id: str, up: Stream[RawMessage], *, ship_id: str, metrics: FlowMetrics) -> TakenOver:
    """Read the messages of ANOMALIES as events; what cannot be read leaves as dead letters. Stateless."""

    def read(batch: list[RawMessage]) -> Iterable[Event | DeadLetter]:
        for raw in batch:
            try:
                event = read_handed_over(raw)
            except ValueError as error:
                yield _dead_letter(raw, ship_id, error, metrics)
                continue
            if event is not None:
                yield event

    items = op.flat_map_batch("read", up, read)
    events = op.filter_map("events", items, lambda item: item if isinstance(item, Event) else None)
    letters = op.filter_map("dead_letters", items, lambda item: item if isinstance(item, DeadLetter) else None)
    return TakenOver(events, letters)


def _dead_letter(raw: RawMessage, ship_id: str, error: ValueError, metrics: FlowMetrics) -> DeadLetter:
    reason = _explain(error)
    metrics.dead_letters.labels("handover").inc()
    log.warning("dead letter", reason=reason, stream=raw.stream, subject=raw.subject, sequence=raw.sequence)
    return DeadLetter.of(
        raw.data,
        dead_letter_id=content_uuid("handover", raw.stream, str(raw.identity), str(raw.sequence)),
        ship_id=ship_id,
        stream=raw.stream,
        pos=(raw.sequence, 0),
        subject=raw.subject,
        observed_at=raw.observed_at,
        reason=reason,
    )


def _explain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        where, what, _ = first_problem(error)
        return f"{where or 'message'}: {what}"[:500]
    return str(error)[:500]
