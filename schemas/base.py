"""What every message shares: the frozen base model and the field types."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION: Final = "3.0"

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def to_utc(value: datetime) -> datetime:
    """Return an aware time in UTC; a time without a zone is refused.

    >>> to_utc(datetime.fromisoformat("2026-01-01T02:00:00+02:00")).isoformat()
    '2026-01-01T00:00:00+00:00'

    Raises:
        ValueError: when the time has no zone, or lies outside the years 1 to 9999 in UTC.
    """
    if value.tzinfo is None:
        raise ValueError("time zone missing, send for example 2026-01-01T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value.isoformat()} is out of range in UTC") from error


UtcDatetime = Annotated[datetime, AfterValidator(to_utc)]
"""An aware time, always UTC."""

TrackingId = Annotated[str, Field(pattern=UUID_PATTERN)]
"""The UUID of one input event, lower case."""

MAX_NAME: Final = 256
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
"""A ship, device, service or metric name."""

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

Domain = Literal["comms", "app", "net", "security", "system"]
DOMAINS: tuple[Domain, ...] = ("comms", "app", "net", "security", "system")

Pos = tuple[int, int]
"""(stream sequence, index within the message): the order of everything."""


class Severity(StrEnum):
    """How bad: low < medium < high < critical."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical.

        >>> Severity.HIGH.rank
        2
        """
        return _SEVERITY_RANK[self]


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Level(StrEnum):
    """Level of a log line: debug < info < warn < error < critical."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for debug up to 4 for critical."""
        return _LEVEL_RANK[self]


_LEVEL_RANK = {level: rank for rank, level in enumerate(Level)}


class Part(BaseModel):
    """Base of what messages are made of: frozen, unknown keys ignored (ship and shore upgrade apart)."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Message(Part):
    """Base of every message on the wire."""

    schema_version: Literal["3.0"] = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The message as UTF-8 JSON, keys in the order of the fields."""
        return self.model_dump_json().encode()

    def to_dict(self) -> dict[str, Any]:
        """The message as plain JSON types."""
        return self.model_dump(mode="json")


class TracedMessage(Message):
    """A message that leads back to one input event of one ship.

    error_msg is None, or what went wrong on the way: errors are kept, never swallowed.
    """

    tracking_id: TrackingId
    ship_id: Name
    error_msg: str | None = None


def first_problem(error: ValidationError) -> tuple[str, str, Any]:
    """The first thing wrong with a message: where (empty: the whole of it), what, and the value that was given."""
    first = error.errors(include_url=False)[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"], first["input"]
