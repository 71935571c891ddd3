"""The question that the insight path answers about an incident, and its answer."""

from typing import Literal

from pydantic import Field

from schemas.base import Score, Severity, TracedMessage, UtcDatetime
from schemas.incident import Incident


class EnrichmentRequest(TracedMessage):
    """Explain this incident (published when it opens, escalates or reopens)."""

    request_id: str
    incident_id: str
    revision: int
    severity: Severity
    requested_at: UtcDatetime
    incident: Incident


class EnrichmentCompleted(TracedMessage):
    """An explanation: version 1 comes from rules, version 2 from the cache or the LLM."""

    request_id: str
    incident_id: str
    version: int = Field(ge=1)
    source: Literal["rules", "cache", "llm"]
    narrative: str
    confidence: Score
    runbook_refs: tuple[str, ...] = ()
    evidence_refs: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    model: str | None = None
    prompt_hash: str | None = None
    latency_ms: float
    tokens: int | None = None
    completed_at: UtcDatetime
