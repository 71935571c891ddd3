"""What the vessel flow has published, read from its streams: contexts of anomalies, incidents that are open."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from operators.jetstream import Delivery, Link, stream_state
from operators.jetstream.pull import Pull
from schemas.anomaly import AnomalyEnriched
from schemas.incident import IncidentPublished

WINDOW: Final = 4096
ENRICHED: Final = "anomaly.enriched."
INCIDENT: Final = "incidents."

log = structlog.get_logger()


class OpenIncident(NamedTuple):
    """An incident as it was last told."""

    incident_id: str
    title: str
    opened_at: datetime


class _Eye:
    """Looks at every message of a stream, up to the last one that it held at first."""

    def __init__(self, last: int, look: Callable[[Msg], None]) -> None:
        self.last = last
        self.seen = 0
        self.pull: Pull | None = None
        self._look = look

    def take(self, delivery: Delivery, msg: Msg) -> None:
        self.seen = delivery.sequence
        try:
            self._look(msg)
        except ValidationError as error:
            log.warning("unreadable", subject=msg.subject, sequence=delivery.sequence, error=str(error))
        if self.pull is not None and self.seen >= self.last:
            self.pull.wake()

    def held(self) -> tuple[int, int]:
        return 0, 0


async def look_through(link: Link, stream: str, look: Callable[[Msg], None]) -> None:
    """Hand every message that a stream holds now to a function, in order.

    Raises:
        NatsError, NatsAwayError: when it cannot be read to its end.
    """
    state = await stream_state(link, stream)
    if state.first > state.last:
        return
    eye = _Eye(state.last, look)
    eye.pull = Pull(link, stream, state.first - 1, eye, window=WINDOW)
    pull = eye.pull
    await pull.run(lambda: pull.at_end or eye.seen >= state.last)


class Contexts:
    """Takes the enriched anomalies of ANOMALIES and hands them on in portions, so that few are in memory."""

    def __init__(self, keep: Callable[[Iterator[AnomalyEnriched]], int], portion: int = 2000) -> None:
        self._keep = keep
        self._portion = portion
        self._waiting: list[AnomalyEnriched] = []
        self.count = 0

    def look(self, msg: Msg) -> None:
        """Take one message of the stream."""
        if msg.subject.startswith(ENRICHED):
            self._waiting.append(AnomalyEnriched.model_validate_json(msg.data))
            if len(self._waiting) >= self._portion:
                self.flush()

    def flush(self) -> None:
        """Hand on what is left."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.count = self._keep(iter(waiting))


class OpenIncidents:
    """Takes the revisions of INCIDENTS and knows which incidents are open; only those are in memory."""

    def __init__(self) -> None:
        self.open: dict[str, OpenIncident] = {}

    def look(self, msg: Msg) -> None:
        """Take one message of the stream."""
        if not msg.subject.startswith(INCIDENT):
            return
        incident = IncidentPublished.model_validate_json(msg.data)
        if incident.status == "resolved":
            self.open.pop(incident.incident_id, None)
        else:
            self.open[incident.incident_id] = OpenIncident(incident.incident_id, incident.title, incident.opened_at)
