"""Anomalies of one correlation key that wait for enough company to be an incident."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from operators.correlate.classify import Situation, Terms
from schemas.anomaly import AnomalyEnriched

MAX_WAITING = 100


class Waiting(NamedTuple):
    """An anomaly that waits, and what links its situation to others."""

    anomaly: AnomalyEnriched
    links: tuple[str, ...]


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
        self._waiting: list[Waiting] = []
        self._latest_arrival: datetime | None = None
        self.over: set[str] = set()

    def add(self, anomaly: AnomalyEnriched, links: tuple[str, ...], now: datetime) -> None:
        """Let one more anomaly wait; the same one again changes nothing."""
        if any(each.anomaly.anomaly_id == anomaly.anomaly_id for each in self._waiting):
            return
        self._waiting.append(Waiting(anomaly, links))
        latest = max(each.anomaly.ts for each in self._waiting)
        self._waiting = [each for each in self._waiting if latest - each.anomaly.ts <= self.window][-MAX_WAITING:]
        self.over = {each.anomaly.source for each in self._waiting} & self.over - {anomaly.source}
        self._latest_arrival = now

    def clear(self, cleared: AnomalyEnriched) -> None:
        """Take out what a metric's series fired; a log line was said, and quiet does not unsay it (but it is over)."""
        if cleared.anomaly_type.startswith("log_"):
            self.over.add(cleared.source)
        else:
            self._waiting = [each for each in self._waiting if each.anomaly.source != cleared.source]

    @property
    def sources(self) -> set[str]:
        """What fired the waiting anomalies and has yet to clear."""
        return {each.anomaly.source for each in self._waiting} - self.over

    @property
    def links(self) -> tuple[str, ...]:
        """What links those that wait to other situations."""
        return tuple(sorted({link for each in self._waiting for link in each.links}))

    @property
    def count(self) -> int:
        """How many findings wait (an anomaly may speak for several lines)."""
        return sum(each.anomaly.count for each in self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def in_order(self) -> list[AnomalyEnriched]:
        """What waits, by position."""
        anomalies = [each.anomaly for each in self._waiting]
        return sorted(anomalies, key=lambda anomaly: (anomaly.pos, anomaly.anomaly_id))

    def situation(self, latest: Situation) -> Situation:
        """What has come about: the last anomaly's situation, under the first one's terms, with the links of all."""
        return latest._replace(terms=self.terms, links=self.links)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`."""
        self._latest_arrival = min(self._latest_arrival or at, at)

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
            "waiting": [(each.anomaly.model_dump(mode="json"), each.links) for each in self._waiting],
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """What waits, from a snapshot."""
        pending = cls(Terms(*state["terms"]))
        pending._latest_arrival = state["latest_arrival"]
        pending.over = set(state["over"])
        pending._waiting = [
            Waiting(AnomalyEnriched.model_validate(saved), tuple(links)) for saved, links in state["waiting"]
        ]
        return pending
