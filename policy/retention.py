"""retention: how long ClickHouse keeps what (devices are kept for ever)."""

from pydantic import Field

from policy.base import Segment


class RetentionPolicy(Segment):
    """Days by table, counted from arrival."""

    logs_days: int = Field(5, ge=1, le=3650, description="log lines")
    samples_days: int = Field(5, ge=1, le=3650, description="metric samples")
    anomalies_days: int = Field(30, ge=1, le=3650, description="anomalies")
    incidents_days: int = Field(30, ge=1, le=3650, description="incidents, all revisions")
    suppressions_days: int = Field(30, ge=1, le=3650, description="records of what was held back")
    insights_days: int = Field(30, ge=1, le=3650, description="explanations")
    llm_cache_minutes: int = Field(45, ge=1, le=525_600, description="cached answers of the LLM")
    audit_days: int = Field(365, ge=1, le=10_000, description="who did what")
    dead_letters_days: int = Field(14, ge=1, le=3650, description="what could not be read")
