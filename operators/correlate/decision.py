"""What correlate decides, before it is published."""

from datetime import datetime
from typing import NamedTuple

from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentRequest
from schemas.ops import AuditEvent


class Decision(NamedTuple):
    """One message to publish; observed_at is the arrival of the telemetry that caused it at once, else None."""

    message: IncidentPublished | SuppressionRecord | EnrichmentRequest | AuditEvent
    observed_at: datetime | None
