"""correlate: the keyed step that turns anomalies into incidents."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.correlate.answers import answer_to
from operators.correlate.decision import Decision
from operators.correlate.ship import SNAPSHOT_VERSION, ShipCorrelator
from operators.observability import FlowMetrics
from operators.stored_state import reading_state
from policy import PolicySet
from schemas.anomaly import AnomalyEnriched
from schemas.event import Event
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.ops import Device, OpsCommand, OpsTick

MAX_SHIPS: Final = 100
"""Ships of one slot, as in detect."""
TOLD_EVERY: Final = timedelta(hours=1)

log = structlog.get_logger()


class CorrelateSlot:
    """The correlators of the ships that fall into one slot. State: theirs.

    At most 100 ships at once; what comes of another is counted as ship_cap and not correlated, its commands
    are refused. The ship on which this runs (own_ship) and those that policy names always have their place.
    """

    def __init__(self, policy: PolicySet, slots: int = 1, *, own_ship: str | None = None) -> None:
        self._policy = policy
        self._slots = slots
        self._expected = {own_ship, *policy.ships}
        self._capped: list[str] = []
        self._told_at: datetime | None = None
        self.ships: dict[str, ShipCorrelator] = {}
        self._counts: Counter[str] = Counter()

    def process(self, event: Event) -> Iterator[Decision]:
        """Take one event; events must come in order."""
        body = event.body
        if isinstance(body, OpsTick):
            for ship_id, ship in sorted(self.ships.items()):
                yield from ship.tick(event.at)
                if ship.is_empty:
                    self._counts += self.ships.pop(ship_id).take_counts()
        elif isinstance(body, AnomalyEnriched | OpsCommand | Device):
            if self._has_place(body.ship_id):
                yield from self._take(body, event.at)
            else:
                yield from self._turn_away(body, event.at)

    def _take(self, body: AnomalyEnriched | OpsCommand | Device, at: datetime) -> Iterator[Decision]:
        ship = self._ship(body.ship_id)
        if isinstance(body, AnomalyEnriched):
            yield from ship.take(body, at)
        elif isinstance(body, OpsCommand):
            yield from ship.apply(body, at)
        else:
            yield from ship.advance(at)
            ship.learn(body)

    def _has_place(self, ship_id: str) -> bool:
        return ship_id in self.ships or len(self.ships) < MAX_SHIPS or ship_id in self._expected

    def _turn_away(self, body: AnomalyEnriched | OpsCommand | Device, at: datetime) -> Iterator[Decision]:
        self._counts["ship_cap"] += 1
        if self._told_at is None or not timedelta() <= at - self._told_at < TOLD_EVERY:
            self._told_at = at
            self._capped.append(body.ship_id)
        if isinstance(body, OpsCommand):
            reason = f"{body.ship_id} is not correlated here: {MAX_SHIPS} other ships are, and policy does not name it"
            yield Decision(answer_to(body, at, "refused", reason), None)

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

    def take_capped(self) -> list[str]:
        """The ships that were turned away first in an hour (of log time), since this was last asked."""
        capped, self._capped = self._capped, []
        return capped

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
        held_back: dict[str, str] = {}
        for decision in out:
            self._tell(decision, held_back)
        for ship_id in self._slot.take_capped():
            log.warning(
                f"more than {MAX_SHIPS} ships: the anomalies of others are counted as ship_cap, not correlated",
                ship_id=ship_id,
                remedy="find out who sends under that name; a ship that policy.yaml names always has its place",
            )
        for reason, count in self._slot.take_counts().items():
            self._metrics.dropped.labels(reason).inc(count)
        return out, StatefulBatchLogic.RETAIN

    def _tell(self, decision: Decision, held_back: dict[str, str]) -> None:
        """Count and log; held_back notes why an incident is, for its revision comes after that."""
        message = decision.message
        if isinstance(message, SuppressionRecord):
            self._metrics.suppressed.labels(message.kind).inc()
            if message.incident_id is not None and message.kind not in ("duplicate", "suppressed"):
                held_back[message.incident_id] = f"{message.kind}: {message.reason}"
        elif isinstance(message, IncidentPublished):
            self._metrics.incidents.labels(message.event).inc()
            is_held, why = message.status == "suppressed", held_back.get(message.incident_id, message.inhibited_by)
            say = log.debug if is_held and message.event != "suppressed" else log.info
            say(
                "incident held back" if is_held else f"incident {message.event}",
                title=message.title,
                **({"change": message.event, "reason": why} if is_held else {}),
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
    step_id: str,
    up: Stream[Event],
    *,
    policy: PolicySet,
    slots: int,
    metrics: FlowMetrics,
    own_ship: str | None = None,
) -> Stream[Decision]:
    """Correlate anomalies into incidents, ship by ship, in order of position.

    Keyed by a fixed number of slots (hash of the ship); ticks reach every slot. State: that of
    ShipCorrelator for each ship, of at most 100 ships a slot (own_ship and those that policy names aside).
    """

    def to_slots(batch: list[Event]) -> Iterable[tuple[str, Event]]:
        for event in batch:
            body = event.body
            if isinstance(body, OpsTick):
                yield from ((key, event) for key in every_slot)
            elif isinstance(body, (AnomalyEnriched, OpsCommand, Device)):
                yield str(crc32(body.ship_id.encode()) % slots), event

    def build(resume: dict[str, Any] | None) -> CorrelateLogic:
        slot = CorrelateSlot(policy, slots, own_ship=own_ship)
        if resume is not None:
            with reading_state("correlate"):
                slot.restore(resume)
        return CorrelateLogic(slot, metrics)

    every_slot = [str(slot) for slot in range(slots)]
    keyed: KeyedStream[Event] = op.flat_map_batch("to_slots", up, to_slots)
    decided = op.stateful_batch("slots", keyed, build)
    return op.key_rm("unkey", decided)
