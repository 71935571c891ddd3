"""The first half of the vessel flow: telemetry in, anomalies out.

telemetry ─ decode ─ admit ─ detect ─▶ events (anomalies, ticks, commands)
               │        │       │
         dead letters   │   anomalies
                     dropped (counted)
"""

from dataclasses import dataclass

import bytewax.operators as op
from bytewax.dataflow import Stream

from operators.admit import admit
from operators.decode import decode
from operators.detect import detect
from operators.detect.custom import check_custom
from operators.detect.log_history import LogHistory
from operators.observability import FlowMetrics
from operators.publish import outgoing
from policy import PolicySet
from schemas.anomaly import AnomalyDetected
from schemas.event import Event, Outgoing, RawMessage
from schemas.settings import Settings


@dataclass(frozen=True)
class Detected:
    """What leaves the first half: events for correlate, and messages to publish."""

    events: Stream[Event]
    outgoing: Stream[Outgoing]


def detection(
    telemetry: Stream[RawMessage],
    *,
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    history: LogHistory | None = None,
) -> Detected:
    """Wire the first half onto a stream of raw messages; history is what a start without state knows of logs.

    Raises:
        PolicyError: for a detector of detect.custom that cannot be used.
    """
    check_custom(policy)
    decoded = decode("decode", telemetry, ship_id=settings.ship_id, policy=policy, metrics=metrics)
    admitted = admit("admit", decoded.events, policy=policy, metrics=metrics)
    events = detect(
        "detect",
        admitted,
        policy=policy,
        slots=settings.detect_slots,
        max_series=policy.default.detect.max_series,
        metrics=metrics,
        history=history,
    )
    anomalies = op.filter_map("anomalies", events, _anomaly)
    dead_letters = op.map("dead_letters", decoded.dead_letters, outgoing)
    return Detected(events, op.merge("detection_out", anomalies, dead_letters))


def _anomaly(event: Event) -> Outgoing | None:
    return outgoing(event.body) if isinstance(event.body, AnomalyDetected) else None
