"""detect, silence: when a series, a device or a ship that no longer speaks is a finding."""

from pydantic import Field

from policy.base import Glob, Segment
from schemas.base import Severity


class SilencePolicy(Segment):
    """A series silent for longer than its own rhythm explains; a silent device, or ship, is one finding.

    How far its rhythm must be exceeded follows from outliers.risk.
    """

    enabled: bool = Field(True, description="whether silence is watched")
    min_s: float = Field(60, ge=1, le=604_800, description="seconds; no shorter silence is told")
    min_gaps: int = Field(
        20, ge=3, le=100_000, description="gaps between samples that make a rhythm; what was sent less is not watched"
    )
    settle_s: float = Field(
        30, ge=0, le=86_400, description="seconds in which what falls silent together is gathered, beside one round"
    )
    device_quorum: float = Field(0.5, gt=0, le=1, description="part of its series whose silence is that of a device")
    ship_quorum: float = Field(0.8, gt=0, le=1, description="part of its devices (two at least) likewise for a ship")
    severity: Severity | None = Field(None, description="severity of a silent series; by score when not set")
    device_severity: Severity = Field(Severity.MEDIUM, description="severity of a silent device")
    ship_severity: Severity = Field(Severity.HIGH, description="severity of a silent ship")
    exclude: tuple[Glob, ...] = Field((), max_length=1000, description="metrics whose silence means nothing (globs)")
