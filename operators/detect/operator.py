"""detect: the keyed step that turns telemetry into anomalies."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zlib import crc32

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.detect.slot import DetectSlot, SlotTick
from operators.observability import FlowMetrics
from operators.order import order
from policy import PolicySet
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.ops import OpsTick
from schemas.telemetry import LogMessage, MetricSample, series_id

log = structlog.get_logger()


def slot_of(name: str, slots: int) -> str:
    """The state key that a name falls into: the same for ever, on every machine.

    >>> slot_of("ship-1/modem/vsat/rf_snr_db", 64)
    '17'
    """
    return str(crc32(name.encode()) % slots)


LOG_SLOTS = 8
"""State keys of log lines, by ship: templates are a ship's, and deadlines of lines need every tick."""


class DetectLogic(StatefulBatchLogic[Event, Event, dict[str, Any]]):
    """Feeds one slot in order of position; time comes from the log alone, so it never asks to be woken."""

    def __init__(self, slot: DetectSlot, metrics: FlowMetrics) -> None:
        self._slot = slot
        self._metrics = metrics

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Event], bool]:
        """Take the events of one batch."""
        out = [found for event in sorted(values, key=_pos) for found in self._slot.process(event)]
        self._count(out)
        return out, StatefulBatchLogic.RETAIN

    def _count(self, out: list[Event]) -> None:
        for event in out:
            body = event.body
            if isinstance(body, AnomalyDetected):
                self._metrics.anomalies.labels(body.anomaly_type, body.state).inc()
                log.debug(f"anomaly {body.state}", msg=body.msg, ship_id=body.ship_id, tracking_id=body.tracking_id)
        for reason, count in self._slot.take_counts().items():
            counter = self._metrics.late.labels("detect") if reason == "late" else self._metrics.dropped.labels(reason)
            counter.inc(count)

    def notify_at(self) -> datetime | None:
        """Never: ticks come as events."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """The slot's state as plain data."""
        return self._slot.snapshot()


def _pos(event: Event) -> tuple[int, int]:
    return event.pos


@operator
def detect(
    step_id: str, up: Stream[Event], *, policy: PolicySet, slots: int, max_series: int, metrics: FlowMetrics
) -> Stream[Event]:
    """Find anomalies: samples and lines go in, anomalies come out, with ticks and commands in their places.

    They leave in the order of the log. Keyed by a fixed number of slots (hash of the series). State:
    that of every series seen within policy.detect.series_expiry_s, at most max_series of a kind in
    all; beyond that new series are counted and not judged. A tick reaches every slot of log lines,
    the first of which passes it on, and one slot of samples in turn: a slot that nothing touches is
    not written to the recovery store.
    """

    def to_slots(batch: list[Event]) -> Iterable[tuple[str, Event]]:
        for event in batch:
            body = event.body
            if isinstance(body, MetricSample):
                yield slot_of(series_id(body), slots), event
            elif isinstance(body, LogMessage):
                yield f"log{slot_of(body.ship_id, LOG_SLOTS)}", event
            elif isinstance(body, OpsTick):
                yield "log0", event
                copy = event._replace(body=SlotTick(ship_id=body.ship_id))
                yield from ((key, copy) for key in other_log_slots)
                yield slot_of(str(event.at), slots), copy
            else:
                yield "log0", event

    def build(resume: dict[str, Any] | None) -> DetectLogic:
        slot = DetectSlot(policy, max_series=-(-max_series // slots), slots=slots)
        if resume is not None:
            slot.restore(resume)
        return DetectLogic(slot, metrics)

    other_log_slots = [f"log{slot}" for slot in range(1, LOG_SLOTS)]
    keyed: KeyedStream[Event] = op.flat_map_batch("to_slots", up, to_slots)
    found = op.stateful_batch("slots", keyed, build)
    return order("order", op.key_rm("unkey", found))
