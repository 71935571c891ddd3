"""ingest: what is let in, and how large it may be."""

from pydantic import Field

from policy.base import Segment
from schemas.base import Level


class IngestPolicy(Segment):
    """Bounds on telemetry."""

    min_level: Level = Field(Level.INFO, description="log lines below this level are dropped (and counted)")
    max_message_bytes: int = Field(
        262_144, ge=1024, le=8_388_608, description="a NATS message larger than this becomes a dead letter"
    )
    max_line_bytes: int = Field(16_384, ge=256, le=1_048_576, description="the text of a log line is cut here")
    max_items_per_message: int = Field(
        10_000, ge=1, le=1_000_000, description="a message of more samples or lines becomes a dead letter"
    )
    max_future_s: float = Field(
        86_400, ge=0, le=31_536_000, description="a time further after its arrival is refused; a nearer one is clamped"
    )
    max_past_s: float = Field(
        2_678_400, ge=0, le=315_360_000, description="a time further before its arrival is refused (31 days)"
    )
