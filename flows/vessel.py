"""The vessel flow: a ship's telemetry in, its incidents out, within a second and a half.

    telemetry ─ decode ─ admit ─ detect ─ enrich ─ correlate ─ jetstream
                   │        │       │        │         │
             dead letters   │   anomalies  enriched  incidents, requests, suppressions, audit
                         dropped (counted)

One straight spine: logs, samples, ticks and commands travel the same steps in the order of the
stream, so the same log and policy give the same incidents. Run it as `watchkeeper run vessel`, or
as `python -m bytewax.run flows.vessel`.
"""

from threading import Event as StopEvent

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows.correlate import correlation
from flows.detect import detection
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from policy import PolicySet, load_policy
from schemas.event import Outgoing, RawMessage
from schemas.settings import Settings

OUTPUT_STREAMS = ("ANOMALIES", "INCIDENTS", "INSIGHTS", "DEAD_LETTERS", "OPS")


def vessel(
    source: Source[RawMessage],
    sink: Sink[tuple[str, Outgoing]],
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
) -> Dataflow:
    """Wire the flow; everything that differs between live and replay arrives as an argument."""
    flow = Dataflow("vessel")
    telemetry = op.input("telemetry", flow, source)
    detected = detection(telemetry, policy=policy, settings=settings, metrics=metrics)
    correlated = correlation(detected.events, policy=policy, settings=settings, metrics=metrics)
    outgoing = op.merge("outgoing", detected.outgoing, correlated)
    by_stream = op.key_on("by_stream", outgoing, _stream)
    op.output("jetstream", by_stream, sink)
    return flow


def _stream(message: Outgoing) -> str:
    return message.stream


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent) -> Dataflow:
    """The flow on JetStream, as the settings say; stop ends it cleanly.

    Raises:
        PolicyError, NatsError: the first for a policy that cannot be used, the second when stop
            was set before NATS could be reached.
    """
    policy = load_policy(settings.policy_dir)
    nats = NatsConfig.of(settings)
    ensure_streams(nats, settings.stream_table(), stop=stop)
    source = JetStreamSource(
        nats,
        ["TELEMETRY"],
        window=settings.source_window,
        batch=settings.source_batch,
        metrics=metrics,
        stop=stop,
        ticks=True,
        heartbeat_ship=settings.ship_id,
    )
    sink = JetStreamSink(nats, OUTPUT_STREAMS, metrics=metrics, wait_s=settings.nats_wait_s, stop=stop)
    return vessel(source, sink, policy, settings, metrics)


def flow() -> Dataflow:
    """The flow by the environment's settings, for `python -m bytewax.run flows.vessel`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("vessel"), StopEvent())
