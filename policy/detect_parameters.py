"""detect, parameters: how each outlier detector learns, and detectors of one's own."""

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from policy.base import Segment, Word

DETECTORS: Final = ("zscore", "ewma", "mad", "seasonal", "flat", "record_surprise")
"""The outlier detectors that ship."""

Hold = Annotated[int, Field(ge=1, le=100)]
Part = Annotated[float, Field(ge=0.0001, le=0.5)]


class EwmaParameters(Segment):
    """How ewma learns."""

    fading: Part = Field(0.02, description="weight of a new sample in the mean (0.02: half of it is 34 samples old)")
    min_samples: int = Field(200, ge=10, le=100_000, description="samples before the first judgement")
    hold_samples: Hold = Field(3, description="samples in a row that make a firing or a clearing")
    relearn_samples: int = Field(
        100, ge=10, le=100_000, description="samples in a row on one side after which their level is the normal one"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.relearn_samples <= self.hold_samples:
            raise ValueError(
                f"relearn_samples ({self.relearn_samples}) must exceed hold_samples ({self.hold_samples}), "
                "else a new level is normal before it is told"
            )
        return self


class MadParameters(Segment):
    """How mad learns."""

    window: int = Field(120, ge=3, le=200, description="samples in the rolling window")
    min_samples: int = Field(60, ge=3, le=200, description="samples before the first judgement")
    hold_samples: Hold = Field(3, description="samples in a row that make a firing or a clearing")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_samples > self.window:
            raise ValueError(f"min_samples ({self.min_samples}) must not exceed window ({self.window})")
        return self


class SeasonalParameters(Segment):
    """How seasonal learns."""

    fading: Part = Field(0.25, description="weight of a new week in the profile of an hour")
    min_weeks: int = Field(2, ge=2, le=52, description="weeks that an hour must have been seen before it is judged")
    hold_samples: Hold = Field(3, description="samples in a row that make a firing or a clearing")


class FlatParameters(Segment):
    """When a value that stands still is stuck."""

    min_s: float = Field(1800, ge=0, le=2_592_000, description="seconds that it must have stood still at least")
    warmup_s: float = Field(172_800, ge=0, le=31_536_000, description="seconds of history before the first judgement")
    min_changes: int = Field(100, ge=1, le=1_000_000, description="changes that the series must have shown")


class DetectorParameters(Segment):
    """By detector; those of zscore are detect.zscore. One object serves all series."""

    ewma: EwmaParameters = Field(EwmaParameters(), description="weighted mean")
    mad: MadParameters = Field(MadParameters(), description="rolling median")
    seasonal: SeasonalParameters = Field(SeasonalParameters(), description="hour of the week")
    flat: FlatParameters = Field(FlatParameters(), description="stuck sensor")

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: Any) -> Any:
        if isinstance(data, dict) and "zscore" in data:
            raise ValueError("the parameters of zscore stand under detect.zscore; move them there")
        return data


class CustomDetector(Segment):
    """A detector of one's own: a class on the Python path. Whoever writes the policy chooses code that runs."""

    model_config = ConfigDict(serialize_by_alias=True)

    class_: Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = Field(
        alias="class", description="module:Class; it must keep the contract of MetricDetector"
    )
    params: dict[Word, JsonValue] = Field(
        default_factory=dict, max_length=100, description="its constructor's arguments; risk is added when it takes one"
    )


Named = dict[tuple[str | int, ...], tuple[str, ...]]
"""Names of detectors, by the key that lists them (within detect)."""


def check_names(named: Named, custom: dict[str, CustomDetector]) -> None:
    """Refuse a detector that nobody has defined, and a custom one that takes the name of another.

    Raises:
        ValidationError: at the place of each mistake.
    """
    known = (*DETECTORS, *custom)
    errors = [
        _error((*key, index), name, f"unknown detector, expected one of {', '.join(known)}, or one of detect.custom")
        for key, names in named.items()
        for index, name in enumerate(names)
        if name not in known
    ]
    taken = (*DETECTORS, "vote", "threshold", "stale")
    errors += [
        _error(("custom", name), name, f"{name} is the name of a detector that ships; choose another")
        for name in custom
        if name in taken
    ]
    if errors:
        raise ValidationError.from_exception_data("detect", errors)


def _error(loc: tuple[str | int, ...], given: str, text: str) -> InitErrorDetails:
    kind = PydanticCustomError("detector", "{text}", {"text": text})
    return InitErrorDetails(type=kind, loc=loc, input=given)
