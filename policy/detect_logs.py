"""detect, logs: patterns, templates and rates."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from policy.base import Glob, Segment, Word
from policy.regex import check_regex
from schemas.base import Domain, Level, Severity

Regex = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(check_regex)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PatternRule(Segment):
    """Regular expressions that log lines match; letters in either case."""

    regex: Annotated[tuple[Regex, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, max_length=50, description="one expression or a list; named groups become fields of the anomaly"
    )
    incident_type: Word | None = Field(None, description="which incident it speaks of; else correlate.rules decide")
    severity: Severity = Field(Severity.MEDIUM, description="severity of the anomaly")
    domain: Domain | None = Field(None, description="only in this domain")
    service: Glob = Field("*", description="only these services (glob)")
    min_level: Level = Field(Level.DEBUG, description="only lines of this level and above")


class TemplatePolicy(Segment):
    """Templates of log lines; a new one is a finding."""

    max: int = Field(10_000, ge=100, le=100_000, description="templates kept a ship; more are counted")
    leaf: int = Field(100, ge=10, le=1000, description="templates that one line is compared with at most")
    similarity: float = Field(
        0.7, ge=0.3, le=1, description="share of words that a line has in common with its template"
    )
    min_level: Level = Field(Level.WARN, description="a new template below this level is no finding")
    warmup_s: float = Field(3600, ge=0, le=2_592_000, description="seconds in which every template is new")
    warmup_lines: int = Field(1000, ge=0, le=1_000_000, description="and lines, whichever lasts longer")
    novelty: float = Field(0.01, ge=1e-6, le=1, description="share of new templates above which news is no news")
    burst: int = Field(5, ge=1, le=100, description="new templates reported one by one in a period")
    period_s: float = Field(3600, ge=60, le=86_400, description="the period")
    clear_s: float = Field(300, ge=1, le=86_400, description="seconds without such a line after which it clears")
    severity: dict[Level, Severity] = Field(
        default_factory=lambda: {Level.WARN: Severity.LOW, Level.ERROR: Severity.MEDIUM, Level.CRITICAL: Severity.HIGH},
        description="severity of the anomaly by its line's level; else by score",
    )


class RatePolicy(Segment):
    """Rates of log lines by device, service and level; a storm is a finding."""

    window_s: int = Field(60, ge=1, le=3600, description="seconds a window")
    grace_s: int = Field(10, ge=0, le=3600, description="how much later than a window a line of it may come")
    warmup_windows: int = Field(60, ge=0, le=100_000, description="windows before the first judgement")
    half_life_s: float = Field(86_400, ge=60, le=31_536_000, description="after this a window counts half")
    peak_half_life_s: float = Field(604_800, ge=60, le=31_536_000, description="after this the largest count is halved")
    fire: float = Field(6, gt=0, le=1000, description="standard deviations at which it fires")
    clear: float = Field(3, gt=0, le=1000, description="standard deviations below which it clears")
    clear_windows: int = Field(3, ge=1, le=100, description="windows in a row for that")
    min_count: int = Field(20, ge=2, le=1_000_000, description="least lines in a window that can fire")
    peak_factor: float = Field(2, ge=1, le=100, description="how far over the largest remembered count it must be")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.grace_s > self.window_s:
            raise ValueError(f"grace_s ({self.grace_s}) must not exceed window_s ({self.window_s})")
        if min(self.half_life_s, self.peak_half_life_s) < self.window_s:
            raise ValueError(f"the half-lives must not be shorter than window_s ({self.window_s})")
        if self.clear > self.fire:
            raise ValueError(f"clear ({self.clear:g}) must not exceed fire ({self.fire:g})")
        return self
