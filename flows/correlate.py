"""The second half of the vessel flow: anomalies in, incidents out.

    events ─ enrich ─ correlate ─▶ incidents, requests for enrichment, suppressions, audit
                │
            enriched anomalies

In a process of its own (`watchkeeper run correlate`) it takes its events over from ANOMALIES:

    anomalies ─ take_over ─ enrich ─ correlate ─ jetstream
                    │          │         │
              dead letters  enriched  incidents, requests, suppressions, audit
"""

from threading import Event as StopEvent

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import Source
from bytewax.outputs import Sink

from operators.correlate import correlate
from operators.correlate.classify import classify
from operators.correlate.decision import Decision
from operators.enrich import ContextSource, RecordedContexts, enrich, try_context
from operators.handover import take_over
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from operators.publish import by_stream, outgoing
from operators.rebuild import Rebuild, read_rebuild
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.event import Event, Outgoing, RawMessage
from schemas.settings import Settings

OUTPUT_STREAMS = ("ANOMALIES", "INCIDENTS", "INSIGHTS", "DEAD_LETTERS", "OPS")


def correlation(
    events: Stream[Event],
    *,
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    context: ContextSource | None = None,
) -> Stream[Outgoing]:
    """Wire the second half onto the events of the first; context is whom enrich asks, None for nobody."""

    def incident_type(anomaly: AnomalyDetected, device_type: str | None) -> str:
        return classify(anomaly, policy.for_ship(anomaly.ship_id), device_type).incident_type

    enriched = enrich("enrich", events, policy=policy, context=context, incident_type=incident_type, metrics=metrics)
    decisions = correlate(
        "correlate",
        enriched,
        policy=policy,
        slots=settings.correlate_slots,
        metrics=metrics,
        own_ship=settings.ship_id,
    )
    anomalies = op.filter_map("enriched", enriched, _anomaly)
    decided = op.map("decided", decisions, _decision)
    return op.merge("correlation_out", anomalies, decided)


def correlate_alone(
    source: Source[RawMessage],
    sink: Sink[tuple[str, Outgoing]],
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    context: ContextSource | None = None,
) -> Dataflow:
    """Wire the half as a flow of its own; source gives ANOMALIES, sink takes (stream, message)."""
    flow = Dataflow("correlate")
    anomalies = op.input("anomalies", flow, source)
    taken = take_over("take_over", anomalies, ship_id=settings.ship_id, metrics=metrics)
    correlated = correlation(taken.events, policy=policy, settings=settings, metrics=metrics, context=context)
    dead_letters = op.map("dead_letters", taken.dead_letters, outgoing)
    op.output("jetstream", by_stream("by_stream", op.merge("outgoing", correlated, dead_letters)), sink)
    return flow


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent) -> Dataflow:
    """The half as a flow on JetStream, as the settings say; stop ends it cleanly. Raises as the vessel flow does."""
    policy = load_policy(settings.policy_dir)
    rebuild = read_rebuild(settings.recovery_dir("correlate"))
    nats = NatsConfig.of(settings)
    ensure_streams(nats, settings.stream_table(), stop=stop)
    source = JetStreamSource(
        nats,
        ["ANOMALIES"],
        window=settings.source_window,
        batch=settings.source_batch,
        metrics=metrics,
        stop=stop,
        starts=rebuild.starts,
        heartbeat_ship=settings.ship_id,
    )
    sink = JetStreamSink(nats, OUTPUT_STREAMS, metrics=metrics, wait_s=settings.nats_wait_s, stop=stop)
    return correlate_alone(source, sink, policy, settings, metrics, context_of(policy, settings, rebuild))


def context_of(
    policy: PolicySet, settings: Settings, rebuild: Rebuild, *, shares_chdb: bool = False
) -> ContextSource | None:
    """Whom enrich asks, None when no ship wants enrichment; its bounds are those of the policy of all ships.

    While its state is rebuilt, a flow knows first what anomalies were published with.
    """
    ships = [policy.default, *map(policy.for_ship, policy.ships)]
    if not any(each.features.enrichment for each in ships):
        return None
    dsn = settings.clickhouse_dsn.get_secret_value()
    return try_context(
        dsn,
        settings.clickhouse_database,
        policy.default.enrich,
        shares_chdb=shares_chdb,
        recorded=None if rebuild.contexts is None else RecordedContexts(rebuild.contexts),
    )


def _anomaly(event: Event) -> Outgoing | None:
    return outgoing(event.body) if isinstance(event.body, AnomalyEnriched) else None


def _decision(decision: Decision) -> Outgoing:
    return outgoing(decision.message)._replace(observed_at=decision.observed_at)


def flow() -> Dataflow:
    """The flow by the environment's settings, for `python -m bytewax.run flows.correlate`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("correlate"), StopEvent())
