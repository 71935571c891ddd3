"""The vessel flow: a ship's telemetry in, its incidents out, within a second and a half.

    telemetry ─ decode ─ admit ─ detect ─ enrich ─ correlate ─ jetstream
                   │        │       │        │         │
             dead letters   │   anomalies  enriched  incidents, requests, suppressions, audit
                         dropped (counted)

One straight spine: logs, samples, ticks and commands travel the same steps in the order of the
stream, so the same log and policy give the same incidents. Its halves, flows/detect.py and
flows/correlate.py, also run as processes of their own. Run it as `watchkeeper run vessel`, or as
`python -m bytewax.run flows.vessel`.
"""

from threading import Event as StopEvent

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows.correlate import context_of, correlation
from flows.detect import detection, known_lines, telemetry_source
from operators.detect.log_history import LogHistory
from operators.enrich import ContextSource
from operators.jetstream import JetStreamSink, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from operators.publish import by_stream, outgoing
from operators.rebuild import read_rebuild
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event, Outgoing, RawMessage
from schemas.settings import Settings

OUTPUT_STREAMS = ("ANOMALIES", "INCIDENTS", "INSIGHTS", "DEAD_LETTERS", "OPS")


def vessel(
    source: Source[RawMessage],
    sink: Sink[tuple[str, Outgoing]],
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    history: LogHistory | None = None,
    context: ContextSource | None = None,
) -> Dataflow:
    """Wire the flow; everything that differs between live and replay arrives as an argument.

    history is what a start without state knows of earlier log lines, context whom enrich asks about an
    anomaly's surroundings; a replay has neither.
    """
    flow = Dataflow("vessel")
    telemetry = op.input("telemetry", flow, source)
    detected = detection(telemetry, policy=policy, settings=settings, metrics=metrics, history=history)
    anomalies = op.filter_map("anomalies", detected.events, _anomaly)
    dead_letters = op.map("dead_letters", detected.dead_letters, outgoing)
    correlated = correlation(detected.events, policy=policy, settings=settings, metrics=metrics, context=context)
    op.output("jetstream", by_stream("by_stream", op.merge("outgoing", anomalies, dead_letters, correlated)), sink)
    return flow


def _anomaly(event: Event) -> Outgoing | None:
    return outgoing(event.body) if isinstance(event.body, AnomalyDetected) else None


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent, *, shares_chdb: bool = False) -> Dataflow:
    """The flow on JetStream, as the settings say; stop ends it cleanly.

    A start without state learns log templates and rates from ClickHouse, if that answers within some
    seconds. shares_chdb: the embedded database is open in this process (it can be in one only).

    Raises:
        PolicyError, NatsError, ClickHouseError: the first for a policy that cannot be used, the second
            when stop was set before NATS could be reached, the third for a DSN that cannot be right.
    """
    policy = load_policy(settings.policy_dir)
    rebuild = read_rebuild(settings.recovery_dir("vessel"))
    nats = NatsConfig.of(settings)
    ensure_streams(nats, settings.stream_table(), stop=stop)
    source = telemetry_source(settings, metrics, stop, rebuild, heartbeat_ship=settings.ship_id)
    sink = JetStreamSink(nats, OUTPUT_STREAMS, metrics=metrics, wait_s=settings.nats_wait_s, stop=stop)
    history = known_lines("vessel", policy, settings, shares_chdb=shares_chdb)
    context = context_of(policy, settings, rebuild, shares_chdb=shares_chdb)
    return vessel(source, sink, policy, settings, metrics, history, context)


def flow() -> Dataflow:
    """The flow by the environment's settings, for `python -m bytewax.run flows.vessel`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("vessel"), StopEvent())
