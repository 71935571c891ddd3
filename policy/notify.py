"""notify: who is told, beyond the screen."""

from typing import Annotated

from pydantic import Field

from policy.base import Segment
from schemas.base import Severity

TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", max_length=5)]


class NotifyPolicy(Segment):
    """Notifications."""

    enabled: bool = Field(False, description="whether anything is sent")
    min_severity: Severity = Field(Severity.HIGH, description="incidents below this are not sent")
    quiet_from: TimeOfDay | None = Field(None, description="start of the quiet hours, UTC, e.g. 22:00")
    quiet_to: TimeOfDay | None = Field(None, description="end of the quiet hours, UTC, e.g. 06:00")
