"""remediate: what Watchkeeper may do by itself."""

from typing import Literal

from pydantic import Field

from policy.base import Segment


class RemediatePolicy(Segment):
    """Remediation."""

    enabled: bool = Field(False, description="whether any action is taken")
    dry_run: bool = Field(True, description="only say what would be done")
    max_risk: Literal["low", "medium", "high"] = Field("low", description="actions of a higher risk are never taken")
