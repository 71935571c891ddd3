"""maintenance: when work is done on the ship, and how long a person may silence something."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from policy.base import Glob, Segment, Word
from policy.recurrence import Recurrence, recurrence

MAX_UNBROKEN: Final = timedelta(days=92)
"""Longer than this no window may last without a break."""


_CLASS: Final = re.compile(r"\[!?\]?[^\]]*\]")
_WORD: Final = re.compile(r"[^\W_]{2}")


def names_something(given: Mapping[str, str]) -> bool:
    """Whether one of these is an exact value, or a glob with two letters or digits in a row.

    >>> names_something({"device_id": "gw-*"}), names_something({"device_id": "*-*", "service": "[a-z]*"})
    (True, False)
    """
    return any(not set(value) & set("*?[") or _WORD.search(_CLASS.sub("*", value)) for value in given.values())


def _local(value: datetime) -> datetime:
    if value.tzinfo is not None or value.microsecond:
        raise ValueError("expected a local time in whole seconds without a zone, such as 2026-01-01T02:00:00")
    if not 2000 <= value.year <= 2100:
        raise ValueError("expected a year from 2000 to 2100")
    return value


LocalTime = Annotated[datetime, AfterValidator(_local)]
"""A local time without a zone, in whole seconds."""


class SubjectMatch(Segment):
    """What must hold for an anomaly or incident; what is not set matches all. Globs and exact values."""

    ship_id: Glob | None = Field(None, description="the ship (glob)")
    incident_type: Glob | None = Field(None, description="the incident's type (glob)")
    severity: Glob | None = Field(None, description="low, medium, high or critical (glob)")
    domain: Glob | None = Field(None, description="comms, app, net, security or system (glob)")
    device_id: Glob | None = Field(None, description="each device it touches (glob)")
    service: Glob | None = Field(None, description="each service it touches (glob)")
    metric_name: Glob | None = Field(None, description="each metric it touches (glob)")
    rule: Glob | None = Field(None, description="the threshold's or pattern's name (glob)")
    title: Glob | None = Field(None, description="the incident's title (glob)")

    @property
    def given(self) -> dict[str, str]:
        """What is set, by field."""
        return self.model_dump(exclude_none=True)


class MaintenanceWindow(Segment):
    """Work that recurs: what it matches is held back meanwhile.

    A window lasts duration_s real seconds from each start, whatever the clocks do meanwhile.
    """

    match: SubjectMatch = Field(description="what is held back")
    rrule: str = Field(max_length=500, description="when it starts, RFC 5545: FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0")
    start: LocalTime = Field(description="no start before this local time, e.g. 2026-01-01T02:00:00")
    duration_s: float = Field(ge=60, le=2_592_000, description="how long it lasts")
    timezone: str = Field("UTC", min_length=1, max_length=64, description="IANA name, e.g. Europe/Oslo")
    owner: str = Field(min_length=1, max_length=256, pattern=r"\S", description="who answers for it")
    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S", description="what is done")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.match.given:
            raise ValueError("match is empty and would hold back everything; name at least one field, or the ship_id")
        if not any(character.isalnum() for value in self.match.given.values() for character in value):
            raise ValueError(
                "match would hold back everything; name at least one field, or the ship_id, exactly or by a glob with "
                "a letter or digit in it"
            )
        if not _has_a_break(self.recurrence, self.duration):
            raise ValueError(
                f"{self.rrule} with duration_s {self.duration_s:g} lasts more than {MAX_UNBROKEN.days} days "
                "without a break; shorten it or end it sooner with COUNT or UNTIL"
            )
        return self

    @property
    def recurrence(self) -> Recurrence:
        """When it starts."""
        return recurrence(self.rrule, self.start, self.timezone)

    @property
    def duration(self) -> timedelta:
        """How long it lasts."""
        return timedelta(seconds=self.duration_s)


class SilenceLimits(Segment):
    """What a person may silence."""

    max_active: int = Field(10_000, ge=1, le=100_000, description="silences of a ship at once; more are refused")
    max_duration_s: float = Field(604_800, ge=60, le=31_536_000, description="a silence ends after this at the latest")


class MaintenancePolicy(Segment):
    """What is held back on purpose."""

    windows: dict[Word, MaintenanceWindow] = Field(
        default_factory=dict, max_length=200, description="recurring maintenance windows, by name"
    )
    silences: SilenceLimits = Field(SilenceLimits(), description="limits of silences")


@lru_cache(maxsize=1024)
def _has_a_break(starts: Recurrence, duration: timedelta) -> bool:
    since = end = None
    for at in starts.starts():
        if since is None or end is None:
            since = at
        elif at > end:
            return True
        end = at + duration
        if end - since > MAX_UNBROKEN:
            return False
    return True
