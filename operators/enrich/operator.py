"""The step: each anomaly gets its context and its severity, in its place."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator

from operators.async_map import AsyncLimits, async_map
from operators.enrich.asks import Asker, Found, IncidentTypeOf
from operators.enrich.context import ContextSource
from operators.enrich.saved import load_event, save_event
from operators.enrich.severity import judge
from operators.observability import FlowMetrics
from policy import PolicySet
from policy.enrich import EnrichSeverityPolicy
from schemas.anomaly import AnomalyDetected, AnomalyEnriched, ContextData
from schemas.base import Severity
from schemas.event import Event

log = structlog.get_logger()


def own_incident_type(anomaly: AnomalyDetected, device_type: str | None) -> str | None:
    """The incident type that the rule gave the anomaly, if any, whatever the device."""
    return anomaly.incident_type


class Enricher:
    """Makes the enriched anomaly of what was detected and what is known. Keeps no state.

    score_map: severity by score; severity: what context does to it.
    """

    def __init__(self, score_map: Mapping[float, Severity], severity: EnrichSeverityPolicy | None = None) -> None:
        self._score_map = score_map
        self._severity = severity or EnrichSeverityPolicy()

    def enrich(
        self,
        anomaly: AnomalyDetected,
        context: ContextData,
        missing: str | None = None,
        incident_type: str | None = None,
    ) -> AnomalyEnriched:
        """The anomaly with its context, severity and the reason for it; missing goes to error_msg."""
        severity, reason = judge(
            anomaly,
            context,
            score_map=self._score_map,
            policy=self._severity,
            incident_type=incident_type or anomaly.incident_type,
        )
        known = {name: getattr(anomaly, name) for name in AnomalyDetected.model_fields}
        known["error_msg"] = "; ".join(filter(None, (anomaly.error_msg, missing))) or None
        return AnomalyEnriched(**known, severity=severity, severity_reason=reason, context=context)


class EventEnricher:
    """Enriches the anomalies among events by the policy of their ships, with or without a source of context.

    State: one Enricher a ship, for the last 1,000 ships.
    """

    def __init__(
        self,
        policy: PolicySet,
        context: ContextSource | None,
        incident_type: IncidentTypeOf,
        metrics: FlowMetrics | None,
    ) -> None:
        self._policy = policy
        self._context = context
        self._incident_type = incident_type
        self._metrics = metrics
        self._of_ship = lru_cache(maxsize=1000)(self._build)

    def _build(self, ship_id: str) -> tuple[Enricher, bool]:
        policy = self._policy.for_ship(ship_id)
        wanted = self._context is not None and policy.features.enrichment
        return Enricher(policy.correlate.severity.score_map, policy.enrich.severity), wanted

    def pass_on(self, batch: list[Event]) -> Iterable[Event]:
        """Events with their anomalies enriched by what they say themselves."""
        for event in batch:
            body = event.body
            yield self._with(event, body, ContextData()) if isinstance(body, AnomalyDetected) else event

    def at_once(self, event: Event) -> Event | None:
        """The event as it goes on, or None when ClickHouse must be asked first."""
        body = event.body
        if not isinstance(body, AnomalyDetected):
            return event
        if self._context is None or not self._of_ship(body.ship_id)[1]:
            return self._with(event, body, ContextData())
        found = self._context.at_once(self._asker(body))
        return None if found is None else self._found(event, body, found)

    def call(self, events: list[Event]) -> list[Event]:
        """Anomalies with what memory and ClickHouse know; raises as ContextSource.fetch does."""
        assert self._context is not None
        bodies = [event.body for event in events if isinstance(event.body, AnomalyDetected)]
        found = dict(zip(map(id, bodies), self._context.fetch([self._asker(body) for body in bodies]), strict=True))
        return [
            self._found(event, event.body, found[id(event.body)]) if isinstance(event.body, AnomalyDetected) else event
            for event in events
        ]

    def on_failure(self, event: Event, error: Exception) -> Event:
        """The anomaly with what memory knows, saying why there is no more."""
        body = event.body
        if not isinstance(body, AnomalyDetected) or self._context is None:
            return event
        log.debug("context_missing", error=str(error), ship_id=body.ship_id, tracking_id=body.tracking_id)
        return self._found(event, body, self._context.known(self._asker(body), str(error)))

    def _asker(self, anomaly: AnomalyDetected) -> Asker:
        return Asker(anomaly, self._incident_type)

    def _found(self, event: Event, anomaly: AnomalyDetected, found: Found) -> Event:
        if self._metrics is not None:
            empty = found.context == ContextData()
            self._metrics.enriched.labels("complete" if not found.missing else "none" if empty else "partial").inc()
        return self._with(event, anomaly, found.context, found.missing)

    def _with(self, event: Event, anomaly: AnomalyDetected, context: ContextData, missing: str | None = None) -> Event:
        enricher = self._of_ship(anomaly.ship_id)[0]
        body = enricher.enrich(anomaly, context, missing, self._incident_type(anomaly, context.device_type))
        return event._replace(body=body)


@operator
def enrich(
    step_id: str,
    up: Stream[Event],
    *,
    policy: PolicySet,
    context: ContextSource | None = None,
    incident_type: IncidentTypeOf = own_incident_type,
    metrics: FlowMetrics | None = None,
) -> Stream[Event]:
    """Turn each AnomalyDetected into an AnomalyEnriched, in its place; all other events pass untouched.

    Without a source of context everything passes at once, and no state is kept: what a replay does.
    With one, order is kept (all events through one key, on one worker) and an anomaly waits at most
    policy.enrich.timeout_ms for its context, queueing included; it goes on with what is known by
    then, and error_msg says what is missing and why. State: the events that wait, in the snapshot;
    after a crash they are asked about again, and the first publication of an anomaly wins.
    incident_type says which kind of incident an anomaly on a device of a type speaks of; the type is
    the inventory's in ClickHouse, None until that has answered. At the end of the input the
    source is closed.
    """
    enricher = EventEnricher(policy, context, incident_type, metrics)
    if context is None:
        return op.flat_map_batch("pass_on", up, enricher.pass_on)
    rules = context.policy
    together = op.key_on("together", up, lambda event: "all")
    enriched = async_map(
        "context",
        together,
        enricher.call,
        on_failure=enricher.on_failure,
        limits=AsyncLimits(
            timeout_s=rules.timeout_ms / 1000,
            capacity=rules.capacity,
            workers=rules.workers,
            max_batch=rules.max_batch,
            linger_s=rules.linger_ms / 1000,
            retries=rules.retries,
            backoff_s=rules.backoff_ms / 1000,
        ),
        at_once=enricher.at_once,
        save=save_event,
        load=load_event,
        on_end=context.close,
    )
    return op.key_rm("unkey", enriched)
