"""slo: what is promised, and alerted on."""

from pydantic import Field

from policy.base import Segment


class SloPolicy(Segment):
    """Service level objectives."""

    fast_path_p95_ms: float = Field(1500, ge=1, le=3_600_000, description="arrival to incident published, P95")
    fast_path_p99_ms: float = Field(3000, ge=1, le=3_600_000, description="the same, P99")
    insight_p95_ms: float = Field(10_000, ge=1, le=3_600_000, description="incident to narrative, P95")
    lag_messages: int = Field(100, ge=0, le=10_000_000, description="messages not yet read, at most")
    success_rate: float = Field(0.995, ge=0, le=1, description="messages handled without error")
    dead_letter_rate: float = Field(0.001, ge=0, le=1, description="dead letters among messages, at most")
