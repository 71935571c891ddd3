"""Anomalies of one correlation key that wait for enough company to be an incident."""

from datetime import datetime, timedelta
from typing import Any, Self

from operators.correlate.classify import Terms
from schemas.anomaly import AnomalyEnriched

MAX_WAITING = 100


class Pending:
    """Counts the firing anomalies of one key within a window of event time.

    Event times further than the window before the latest one fall out, and so does a metric's
    anomaly that has cleared: what is over does not count. over: sources of log lines that have
    fallen quiet since, so that an incident does not wait for them to clear. terms: those of policy when
    the first came. State: at most 100 anomalies.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.window = timedelta(seconds=terms.window_s)
        self._waiting: list[AnomalyEnriched] = []
        self._latest_arrival: datetime | None = None
        self.over: set[str] = set()

    def add(self, anomaly: AnomalyEnriched, now: datetime) -> None:
        """Let one more anomaly wait; the same one again changes nothing."""
        if any(each.anomaly_id == anomaly.anomaly_id for each in self._waiting):
            return
        self._waiting.append(anomaly)
        self.over.discard(anomaly.source)
        latest = max(each.ts for each in self._waiting)
        self._waiting = [each for each in self._waiting if latest - each.ts <= self.window][-MAX_WAITING:]
        self._latest_arrival = now

    def clear(self, cleared: AnomalyEnriched) -> None:
        """Take out what a metric's series fired; a log line was said, and quiet does not unsay it (but it is over)."""
        if cleared.anomaly_type.startswith("log_"):
            self.over.add(cleared.source)
        else:
            self._waiting = [each for each in self._waiting if each.source != cleared.source]

    @property
    def sources(self) -> set[str]:
        """What fired the waiting anomalies and has yet to clear."""
        return {anomaly.source for anomaly in self._waiting} - self.over

    @property
    def count(self) -> int:
        """How many findings wait (an anomaly may speak for several lines)."""
        return sum(anomaly.count for anomaly in self._waiting)

    def in_order(self) -> list[AnomalyEnriched]:
        """What waits, by position."""
        return sorted(self._waiting, key=lambda anomaly: (anomaly.pos, anomaly.anomaly_id))

    def expires_at(self) -> datetime:
        """When (log time) what waits is forgotten, unless more comes."""
        assert self._latest_arrival is not None  # made by add()
        return self._latest_arrival + self.window

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "terms": tuple(self.terms),
            "latest_arrival": self._latest_arrival,
            "over": sorted(self.over),
            "waiting": [anomaly.model_dump(mode="json") for anomaly in self._waiting],
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """What waits, from a snapshot."""
        pending = cls(Terms(*state["terms"]))
        pending._latest_arrival = state["latest_arrival"]
        pending.over = set(state["over"])
        pending._waiting = [AnomalyEnriched.model_validate(saved) for saved in state["waiting"]]
        return pending
