"""What every segment is made of: the frozen base model and the bounded field types."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Segment(BaseModel):
    """Base of everything policy says: frozen, unknown keys refused, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
"""The name of an entry: a threshold, a pattern, an incident type."""

Glob = Annotated[str, Field(min_length=1, max_length=256)]
"""A case-sensitive shell pattern (fnmatch) over a metric, service or rule name."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
"""A number of seconds, at most a day."""
