"""correlate: the keyed step that turns anomalies into incidents."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zlib import crc32

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.correlate.decision import Decision
from operators.correlate.ship import SNAPSHOT_VERSION, ShipCorrelator
from operators.observability import FlowMetrics
from operators.stored_state import reading_state
from policy import PolicySet
from schemas.anomaly import AnomalyEnriched
from schemas.event import Event
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.ops import Device, OpsCommand, OpsTick

log = structlog.get_logger()


class CorrelateSlot:
    """The correlators of the ships that fall into one slot. State: theirs."""

    def __init__(self, policy: PolicySet, slots: int = 1) -> None:
        self._policy = policy
        self._slots = slots
        self.ships: dict[str, ShipCorrelator] = {}
        self._counts: Counter[str] = Counter()

    def process(self, event: Event) -> Iterator[Decision]:
        """Take one event; events must come in order."""
        body = event.body
        if isinstance(body, AnomalyEnriched):
            yield from self._ship(body.ship_id).take(body, event.at)
        elif isinstance(body, OpsTick):
            for ship_id, ship in sorted(self.ships.items()):
                yield from ship.tick(event.at)
                if ship.is_empty:
                    self._counts += self.ships.pop(ship_id).take_counts()
        elif isinstance(body, OpsCommand):
            yield from self._ship(body.ship_id).apply(body, event.at)
        elif isinstance(body, Device):
            ship = self._ship(body.ship_id)
            yield from ship.advance(event.at)
            ship.learn(body)

    def _ship(self, ship_id: str) -> ShipCorrelator:
        ship = self.ships.get(ship_id)
        if ship is None:
            ship = self.ships[ship_id] = ShipCorrelator(ship_id, self._policy.for_ship(ship_id))
        return ship

    def take_counts(self) -> Counter[str]:
        """What the ships dropped since this was last asked, by reason."""
        out = sum((ship.take_counts() for ship in self.ships.values()), self._counts)
        self._counts = Counter()
        return out

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        ships = {ship_id: ship.snapshot() for ship_id, ship in self.ships.items()}
        return {"v": SNAPSHOT_VERSION, "slots": self._slots, "ships": ships}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"correlate: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        if state["slots"] != self._slots:
            raise ValueError(
                f"correlate: this state was kept in {state['slots']} slots, WATCHKEEPER_CORRELATE_SLOTS is "
                f"{self._slots}; set it back"
            )
        for ship_id, saved in state["ships"].items():
            self._ship(ship_id).restore(saved)


class CorrelateLogic(StatefulBatchLogic[Event, Decision, dict[str, Any]]):
    """Feeds one slot in order; time comes from the log alone, so it never asks to be woken."""

    def __init__(self, slot: CorrelateSlot, metrics: FlowMetrics) -> None:
        self._slot = slot
        self._metrics = metrics

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Decision], bool]:
        """Take the events of one batch."""
        ordered = sorted(values, key=lambda event: event.order)
        out = [decision for event in ordered for decision in self._slot.process(event)]
        for decision in out:
            self._tell(decision)
        for reason, count in self._slot.take_counts().items():
            self._metrics.dropped.labels(reason).inc(count)
        return out, StatefulBatchLogic.RETAIN

    def _tell(self, decision: Decision) -> None:
        message = decision.message
        if isinstance(message, SuppressionRecord):
            self._metrics.suppressed.labels(message.kind).inc()
        elif isinstance(message, IncidentPublished):
            self._metrics.incidents.labels(message.event).inc()
            log.info(
                f"incident {message.event}",
                title=message.title,
                severity=message.severity.value,
                incident_id=message.incident_id,
                revision=message.revision,
                ship_id=message.ship_id,
                tracking_id=message.tracking_id,
            )

    def notify_at(self) -> datetime | None:
        """Never: ticks come as events."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """The slot's state as plain data."""
        return self._slot.snapshot()


@operator
def correlate(
    step_id: str, up: Stream[Event], *, policy: PolicySet, slots: int, metrics: FlowMetrics
) -> Stream[Decision]:
    """Correlate anomalies into incidents, ship by ship, in order of position.

    Keyed by a fixed number of slots (hash of the ship); ticks reach every slot. State: that of
    ShipCorrelator for each ship.
    """

    def to_slots(batch: list[Event]) -> Iterable[tuple[str, Event]]:
        for event in batch:
            body = event.body
            if isinstance(body, OpsTick):
                yield from ((key, event) for key in every_slot)
            elif isinstance(body, (AnomalyEnriched, OpsCommand, Device)):
                yield str(crc32(body.ship_id.encode()) % slots), event

    def build(resume: dict[str, Any] | None) -> CorrelateLogic:
        slot = CorrelateSlot(policy, slots)
        if resume is not None:
            with reading_state("correlate"):
                slot.restore(resume)
        return CorrelateLogic(slot, metrics)

    every_slot = [str(slot) for slot in range(slots)]
    keyed: KeyedStream[Event] = op.flat_map_batch("to_slots", up, to_slots)
    decided = op.stateful_batch("slots", keyed, build)
    return op.key_rm("unkey", decided)
