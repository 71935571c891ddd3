"""The second half of the vessel flow: anomalies in, incidents out.

events ─ enrich ─ correlate ─▶ incidents, requests for enrichment, suppressions, audit
            │
        enriched anomalies
"""

import bytewax.operators as op
from bytewax.dataflow import Stream

from operators.correlate import correlate
from operators.correlate.classify import classify
from operators.correlate.decision import Decision
from operators.enrich import ContextSource, enrich
from operators.observability import FlowMetrics
from operators.publish import outgoing
from policy import PolicySet
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.event import Event, Outgoing
from schemas.settings import Settings


def correlation(
    events: Stream[Event],
    *,
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    context: ContextSource | None = None,
) -> Stream[Outgoing]:
    """Wire the second half onto the events of the first; context is whom enrich asks, None for nobody."""

    def incident_type(anomaly: AnomalyDetected) -> str:
        return classify(anomaly, policy.for_ship(anomaly.ship_id)).incident_type

    enriched = enrich("enrich", events, policy=policy, context=context, incident_type=incident_type, metrics=metrics)
    decisions = correlate("correlate", enriched, policy=policy, slots=settings.correlate_slots, metrics=metrics)
    anomalies = op.filter_map("enriched", enriched, _anomaly)
    decided = op.map("decided", decisions, _decision)
    return op.merge("correlation_out", anomalies, decided)


def _anomaly(event: Event) -> Outgoing | None:
    return outgoing(event.body) if isinstance(event.body, AnomalyEnriched) else None


def _decision(decision: Decision) -> Outgoing:
    return outgoing(decision.message)._replace(observed_at=decision.observed_at)
