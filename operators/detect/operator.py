"""detect: the keyed step that turns telemetry into anomalies."""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any
from zlib import crc32

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.detect.lines import CAPS
from operators.detect.log_history import LogHistory
from operators.detect.samples import Found
from operators.detect.silence_board import SilenceBoard, SilenceNote
from operators.detect.slot import DetectSlot, SlotTick
from operators.observability import FlowMetrics
from operators.stored_state import reading_state
from policy import PolicySet
from schemas.anomaly import AnomalyDetected
from schemas.base import Pos
from schemas.event import Batch, Event
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


Routed = tuple[Pos, str, Event]
"""An event for a slot: its position, the name of its series (samples only, else empty) and itself."""

_pos = itemgetter(0)


class DetectLogic(StatefulBatchLogic[list[Routed], Found, dict[str, Any]]):
    """Feeds one slot in order of position; time comes from the log alone, so it never asks to be woken.

    It takes lists: what a batch of the log has for one slot travels as one item.
    """

    def __init__(self, slot: DetectSlot, metrics: FlowMetrics) -> None:
        self._slot = slot
        self._metrics = metrics

    def on_batch(self, values: list[list[Routed]]) -> tuple[Iterable[Found], bool]:
        """Take the events of one batch."""
        process = self._slot.process
        take: Callable[[Event, Any, str], Iterable[Found]] = self._slot.take_sample
        out: list[Found] = []
        for _, series, event in sorted(chain.from_iterable(values), key=_pos):
            found = take(event, event.body, series) if series else process(event)
            if found:
                out.extend(found)
        self._slot.settle()
        for each in out:
            if isinstance(each, Event):
                _tell(each, self._metrics)
        for reason, count in self._slot.take_counts().items():
            counter = self._metrics.late.labels("detect") if reason == "late" else self._metrics.dropped.labels(reason)
            counter.inc(count)
        for ship_id, cap in self._slot.take_capped():
            log.warning("log lines beyond a cap are counted, not judged", ship_id=ship_id, cap=cap, policy=CAPS[cap])
        return out, StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Never: ticks come as events."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """The slot's state as plain data."""
        return self._slot.snapshot()


class SilenceLogic(StatefulBatchLogic[Found, Event, dict[str, Any]]):
    """Puts what the slots found into the order of the log, and feeds the board with it.

    What arrives together is sorted; what arrived before was earlier in the log.
    """

    def __init__(self, board: SilenceBoard, metrics: FlowMetrics) -> None:
        self._board = board
        self._metrics = metrics

    def on_batch(self, values: list[Found]) -> tuple[Iterable[Event], bool]:
        """Take the items of one batch."""
        out: list[Event] = []
        for item in sorted(values, key=_notes_first):
            for event in self._board.process(item):
                out.append(event)
                if event is not item:
                    _tell(event, self._metrics)
        return sorted(out, key=_order), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Never: ticks come as events."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """The board's state as plain data."""
        return self._board.snapshot()


def _notes_first(item: Found) -> tuple[tuple[int, int], bool]:
    return item.pos, not isinstance(item, SilenceNote)


def _order(event: Event) -> Any:
    return event.order


def _tell(event: Event, metrics: FlowMetrics) -> None:
    body = event.body
    if isinstance(body, AnomalyDetected):
        metrics.anomalies.labels(body.anomaly_type, body.state).inc()
        log.debug(f"anomaly {body.state}", msg=body.msg, ship_id=body.ship_id, tracking_id=body.tracking_id)


@operator
def detect(
    step_id: str,
    up: Stream[Batch],
    *,
    policy: PolicySet,
    slots: int,
    max_series: int,
    metrics: FlowMetrics,
    history: LogHistory | None = None,
) -> Stream[Event]:
    """Find anomalies: samples and lines go in, anomalies come out, with ticks and commands in their places.

    They leave in the order of the log. Keyed by a fixed number of slots (hash of the series). State:
    that of every series seen within policy.detect.series_expiry_s, at most max_series of a kind in
    all; beyond that new series are counted and not judged. A tick reaches every slot of log lines,
    the first of which passes it on, and one slot of samples in turn (log time in seconds modulo
    slots): a slot that nothing touches is not written to the recovery store. So while the log ticks
    each second, a slot looks for silence and for what has expired every `slots` seconds. What falls
    silent goes to one SilenceBoard for all ships, through which everything leaves. history teaches
    the log lines' templates and rates where a slot starts without state.
    """

    def to_slots(batch: Batch) -> Iterable[tuple[str, list[Routed]]]:
        of_samples: dict[int, list[Routed]] = {}
        others: dict[str, list[Routed]] = {}
        for event in batch:
            pos, at, body = event
            if type(body) is MetricSample:
                series = series_id(body)
                of_samples.setdefault(crc32(series.encode()) % slots, []).append((pos, series, event))
            elif isinstance(body, LogMessage):
                others.setdefault(f"log{slot_of(body.ship_id, LOG_SLOTS)}", []).append((pos, "", event))
            elif isinstance(body, OpsTick):
                others.setdefault("log0", []).append((pos, "", event))
                copy = (pos, "", event._replace(body=SlotTick(ship_id=body.ship_id)))
                for key in other_log_slots:
                    others.setdefault(key, []).append(copy)
                of_samples.setdefault(int(at.timestamp()) % slots, []).append(copy)
            else:
                others.setdefault("log0", []).append((pos, "", event))
        yield from ((str(slot), routed) for slot, routed in of_samples.items())
        yield from others.items()

    def build(resume: dict[str, Any] | None) -> DetectLogic:
        known = history if resume is None else None
        slot = DetectSlot(policy, max_series=-(-max_series // slots), slots=slots, history=known)
        if resume is not None:
            with reading_state("detect"):
                slot.restore(resume)
        return DetectLogic(slot, metrics)

    def build_board(resume: dict[str, Any] | None) -> SilenceLogic:
        board = SilenceBoard(policy, round_s=slots)
        if resume is not None:
            with reading_state("detect, silence"):
                board.restore(resume)
        return SilenceLogic(board, metrics)

    other_log_slots = [f"log{slot}" for slot in range(1, LOG_SLOTS)]
    keyed: KeyedStream[list[Routed]] = op.flat_map("to_slots", up, to_slots)
    found = op.key_rm("unkey", op.stateful_batch("slots", keyed, build))
    together: KeyedStream[Found] = op.key_on("together", found, lambda item: "all")
    return op.key_rm("unkey_silence", op.stateful_batch("silence", together, build_board))
