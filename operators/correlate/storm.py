"""storm: too many incidents at once are told as one."""

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from policy.correlate import StormPolicy


class StormWatch:
    """Counts the incidents that people are told of, and says when that is a storm and when it is over.

    A storm begins with the `opened`-th incident within within_s, and is over once fewer than half as
    many were opened in the last calm_s. Times are log time. State: at most `opened` times, and the
    storm's incident.
    """

    def __init__(self, policy: StormPolicy) -> None:
        self._policy = policy
        self._within = timedelta(seconds=policy.within_s)
        self._calm = timedelta(seconds=policy.calm_s)
        self._opened: deque[tuple[datetime, str]] = deque(maxlen=policy.opened)
        self.incident_id: str | None = None

    def opened(self, incident_id: str, at: datetime) -> bool:
        """Count one more incident; True when with it a storm begins."""
        self._opened.append((at, incident_id))
        is_many = len(self._opened) == self._policy.opened and at - self._opened[0][0] <= self._within
        return self.incident_id is None and is_many

    @property
    def recent(self) -> list[str]:
        """The incidents that made the storm."""
        return [incident_id for _, incident_id in self._opened]

    @property
    def check_at(self) -> datetime | None:
        """When is_over() may become true; None without a storm."""
        if self.incident_id is None or not self._opened:
            return None
        half = -(-self._policy.opened // 2)
        return self._opened[-min(half, len(self._opened))][0] + self._calm

    def is_over(self, at: datetime) -> bool:
        """Whether the storm has calmed down."""
        check_at = self.check_at
        return check_at is not None and at >= check_at

    def end(self) -> None:
        """The storm is over; counting begins anew."""
        self.incident_id = None
        self._opened.clear()

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"opened": list(self._opened), "incident_id": self.incident_id}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._opened.extend((at, incident_id) for at, incident_id in state["opened"])
        self.incident_id = state["incident_id"]
