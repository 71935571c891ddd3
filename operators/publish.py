"""publish: every message on its stream and subject, under the id that makes it count once."""

from functools import singledispatch
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream

from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.dead_letter import DeadLetter
from schemas.event import Outgoing
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentRequest
from schemas.ops import AuditEvent

_INCIDENT_SUBJECTS = {"created": "incidents.created", "resolved": "incidents.resolved"}


@singledispatch
def outgoing(message: Any) -> Outgoing:
    """The message as it is published: stream, subject and Nats-Msg-Id follow from what it is.

    Raises:
        TypeError: for something that is never published.
    """
    raise TypeError(f"no stream for {type(message).__name__}")


@outgoing.register
def _(message: AnomalyDetected) -> Outgoing:
    subject = f"anomaly.detected.{message.domain}"
    return Outgoing("ANOMALIES", subject, message.anomaly_id, message.to_json(), message.tracking_id)


@outgoing.register
def _(message: AnomalyEnriched) -> Outgoing:
    subject = f"anomaly.enriched.{message.domain}"
    return Outgoing("ANOMALIES", subject, f"{message.anomaly_id}:enriched", message.to_json(), message.tracking_id)


@outgoing.register
def _(message: IncidentPublished) -> Outgoing:
    subject = _INCIDENT_SUBJECTS.get(message.event, "incidents.updated")
    msg_id = f"{message.incident_id}:{message.revision}"
    return Outgoing("INCIDENTS", subject, msg_id, message.to_json(), message.tracking_id)


@outgoing.register
def _(message: EnrichmentRequest) -> Outgoing:
    return Outgoing("INSIGHTS", "enrichment.request", message.request_id, message.to_json(), message.tracking_id)


@outgoing.register
def _(message: SuppressionRecord) -> Outgoing:
    return Outgoing("OPS", "ops.suppression", message.record_id, message.to_json(), message.tracking_id)


@outgoing.register
def _(message: AuditEvent) -> Outgoing:
    return Outgoing("OPS", "ops.audit", message.audit_id, message.to_json(), message.tracking_id)


@outgoing.register
def _(message: DeadLetter) -> Outgoing:
    return Outgoing("DEAD_LETTERS", "dlq.telemetry", message.dead_letter_id, message.to_json())


@operator
def by_stream(step_id: str, up: Stream[Outgoing]) -> KeyedStream[Outgoing]:
    """Key each message by the stream that it goes to, as JetStreamSink takes it. Stateless."""
    return op.key_on("key", up, _stream)


def _stream(message: Outgoing) -> str:
    return message.stream
