"""storm: too many incidents at once are told as one."""

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from policy.correlate import StormPolicy


class StormWatch:
    """Counts the incidents that people are told of, and says when that is a storm and when it has calmed down.

    A storm begins with the `opened`-th incident within within_s (one that opens again and again counts
    once), and is calm once fewer than half as many came in the last calm_s: then it takes in no more.
    Times are log time. State: at most `opened` times, the storm that takes in what comes, and the calm
    ones that have not ended, with when to look at them again.
    """

    def __init__(self, policy: StormPolicy) -> None:
        self._policy = policy
        self._within = timedelta(seconds=policy.within_s)
        self._calm = timedelta(seconds=policy.calm_s)
        self._opened: deque[tuple[datetime, str]] = deque(maxlen=policy.opened)
        self.incident_id: str | None = None
        self.calm: dict[str, datetime] = {}

    def opened(self, incident_id: str, at: datetime) -> bool:
        """Count one more incident; True when with it a storm begins."""
        again = next((each for each in self._opened if each[1] == incident_id), None)
        if again is not None:
            self._opened.remove(again)
        self._opened.append((at, incident_id))
        is_many = len(self._opened) == self._policy.opened and at - self._opened[0][0] <= self._within
        return self.incident_id is None and is_many

    @property
    def recent(self) -> list[str]:
        """The incidents that made the storm."""
        return [incident_id for _, incident_id in self._opened]

    def check_at(self, storm_id: str) -> datetime | None:
        """When a storm is to be looked at; None when it has ended."""
        if storm_id in self.calm:
            return self.calm[storm_id]
        if storm_id != self.incident_id or not self._opened:
            return None
        half = -(-self._policy.opened // 2)
        return self._opened[-min(half, len(self._opened))][0] + self._calm

    def calm_down(self, storm_id: str, at: datetime) -> None:
        """The storm takes in no more, and is looked at again after calm_s; counting begins anew."""
        self._take_in_no_more(storm_id)
        self.calm[storm_id] = at + self._calm

    def end(self, storm_id: str) -> None:
        """The storm is over."""
        self._take_in_no_more(storm_id)
        self.calm.pop(storm_id, None)

    def _take_in_no_more(self, storm_id: str) -> None:
        if self.incident_id == storm_id:
            self.incident_id = None
            self._opened.clear()

    @property
    def storms(self) -> list[str]:
        """The storms that have not ended."""
        return [*([self.incident_id] if self.incident_id else []), *self.calm]

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`."""
        opened = [(min(opened_at, at), incident_id) for opened_at, incident_id in self._opened]
        self._opened.clear()
        self._opened.extend(opened)
        self.calm = {storm_id: min(due, at + self._calm) for storm_id, due in self.calm.items()}

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"opened": list(self._opened), "incident_id": self.incident_id, "calm": dict(self.calm)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._opened.extend((at, incident_id) for at, incident_id in state["opened"])
        self.incident_id = state["incident_id"]
        self.calm = dict(state["calm"])
