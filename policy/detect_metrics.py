"""detect, metrics: thresholds, and which outlier detectors judge what."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from policy.base import Glob, Seconds, Segment, Word
from schemas.base import Domain, FiniteFloat, Severity

Bound = Annotated[FiniteFloat, Field(ge=-1e15, le=1e15)]


class ThresholdRule(Segment):
    """A value beyond a fixed bound for longer than a hold time."""

    metric: Glob = Field(description="which metrics, by name (glob)")
    domain: Domain | None = Field(None, description="only in this domain")
    service: Glob = Field("*", description="only these services (glob)")
    above: Bound | None = Field(None, description="fires above this; with below, outside the range")
    below: Bound | None = Field(None, description="fires below this")
    clear: Bound | None = Field(None, description="clears at this level, on the good side of the bound")
    hold_s: Seconds = Field(0, description="seconds that every sample must lie beyond the bound")
    severity: Severity = Field(Severity.MEDIUM, description="severity of the anomaly")
    incident_type: Word | None = Field(None, description="which incident it speaks of; else correlate.rules decide")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("expected a bound: above, below or both")
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ValueError(f"below ({self.below:g}) must lie under above ({self.above:g})")
        if self.clear is not None:
            if self.above is not None and self.clear > self.above:
                raise ValueError(f"clear ({self.clear:g}) must not lie over above ({self.above:g})")
            if self.below is not None and self.clear < self.below:
                raise ValueError(f"clear ({self.clear:g}) must not lie under below ({self.below:g})")
        return self


class ZScoreRule(Segment):
    """A value that breaks away from the mean of the samples before it, further than ever."""

    enabled: bool = Field(True, description="whether z-scores are used")
    window: int = Field(300, ge=20, le=2000, description="samples in the rolling window")
    min_samples: int = Field(150, ge=10, le=2000, description="samples before the first judgement")
    fire: float = Field(6.0, gt=2.5, le=1000, description="standard deviations at which it fires, at the least")
    clear: float = Field(3.0, ge=2.5, le=1000, description="standard deviations below which it clears")
    hold_samples: int = Field(3, ge=1, le=100, description="samples in a row that make a firing or a clearing")
    min_std: float = Field(1e-6, gt=0, le=1e15, description="floor of the standard deviation")
    min_std_fraction: float = Field(0.01, ge=0, le=10, description="floor of it, as a part of the mean")
    metrics: tuple[Glob, ...] = Field(("*",), max_length=1000, description="which metrics (globs)")
    exclude: tuple[Glob, ...] = Field((), max_length=1000, description="and which of them not (globs)")
    severity: Severity | None = Field(None, description="severity; by score when not set")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_samples > self.window:
            raise ValueError(f"min_samples ({self.min_samples}) must not exceed window ({self.window})")
        hold = self.hold_samples
        if hold > 1 and self.fire**2 > (self.window - hold + 1) / (hold - 1):
            raise ValueError(
                f"fire ({self.fire:g}) can never be reached {hold} times in a row in a window of {self.window}; "
                "lower fire or hold_samples, or widen the window"
            )
        if self.clear > self.fire:
            raise ValueError(f"clear ({self.clear:g}) must not exceed fire ({self.fire:g})")
        return self


class MetricRule(Segment):
    """How one kind of metric is judged, where the defaults will not do."""

    metric: Glob = Field(description="which metrics, by name (glob)")
    domain: Domain | None = Field(None, description="only in this domain")
    service: Glob = Field("*", description="only these services (glob)")
    detectors: tuple[Word, ...] | None = Field(
        None, max_length=10, description="which outlier detectors, or those of custom; an empty list for none"
    )
    direction: Literal["both", "up", "down"] = Field("both", description="which deviations count")
    min_deviation: float = Field(0, ge=0, le=1e15, description="smaller deviations never count, in the metric's unit")
    valid_min: Bound | None = Field(None, description="a smaller value is no measurement; it is counted and not judged")
    valid_max: Bound | None = Field(None, description="a larger value likewise")
    severity: Severity | None = Field(None, description="severity; by score when not set")
    incident_type: Word | None = Field(None, description="which incident it speaks of; else correlate.rules decide")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid_min is not None and self.valid_max is not None and self.valid_min >= self.valid_max:
            raise ValueError(f"valid_min ({self.valid_min:g}) must lie under valid_max ({self.valid_max:g})")
        return self

    def is_valid(self, value: float) -> bool:
        """Whether a value can be a measurement at all."""
        return (self.valid_min is None or value >= self.valid_min) and (
            self.valid_max is None or value <= self.valid_max
        )


class OutlierPolicy(Segment):
    """The outlier detectors; those of one series vote."""

    detectors: tuple[Word, ...] = Field(
        ("zscore", "ewma", "seasonal"), max_length=10, description="used where no rule says otherwise"
    )
    risk: float = Field(0.05, ge=1e-4, le=100, description="false firings to be expected of one series in a month")
    sample_period_s: float = Field(5, ge=0.001, le=86_400, description="seconds between samples, for risk")
    min_std_fraction: float = Field(0.001, ge=0, le=1, description="floor of the deviation, as a part of the mean")
    min_hold_s: float = Field(60, ge=0, le=86_400, description="seconds that a finding stays at least")
    flap_count: int = Field(
        5, ge=2, le=50, description="more firings than this in flap_window_s are one, marked flapping"
    )
    flap_window_s: float = Field(3600, ge=60, le=604_800, description="see flap_count")
    calm_s: float = Field(900, ge=0, le=86_400, description="quiet after which a flapping series clears")

    @property
    def risk_per_sample(self) -> float:
        """The same as expected false firings a sample (a month has 2,629,800 s)."""
        return self.risk * self.sample_period_s / 2_629_800
