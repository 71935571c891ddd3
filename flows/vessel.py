"""The vessel flow: a ship's telemetry in, its incidents out, within a second and a half.

    telemetry ─ decode ─ admit ─ detect ─ enrich ─ correlate ─ jetstream
                   │        │       │        │         │
             dead letters   │   anomalies  enriched  incidents, requests, suppressions, audit
                         dropped (counted)

One straight spine: logs, samples, ticks and commands travel the same steps in the order of the
stream, so the same log and policy give the same incidents. Run it as `watchkeeper run vessel`, or
as `python -m bytewax.run flows.vessel`.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as StopEvent

import bytewax.operators as op
import structlog
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows.correlate import correlation
from flows.detect import detection
from operators.clickhouse.history import log_history
from operators.detect.log_history import LogHistory
from operators.enrich import ContextSource, try_context
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from policy import PolicySet, load_policy
from schemas.event import Outgoing, RawMessage
from schemas.settings import Settings

OUTPUT_STREAMS = ("ANOMALIES", "INCIDENTS", "INSIGHTS", "DEAD_LETTERS", "OPS")

log = structlog.get_logger()


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
    correlated = correlation(detected.events, policy=policy, settings=settings, metrics=metrics, context=context)
    outgoing = op.merge("outgoing", detected.outgoing, correlated)
    by_stream = op.key_on("by_stream", outgoing, _stream)
    op.output("jetstream", by_stream, sink)
    return flow


def _stream(message: Outgoing) -> str:
    return message.stream


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent, *, shares_chdb: bool = False) -> Dataflow:
    """The flow on JetStream, as the settings say; stop ends it cleanly.

    A start without state learns log templates and rates from ClickHouse, if that answers within some
    seconds. shares_chdb: the embedded database is open in this process (it can be in one only).

    Raises:
        PolicyError, NatsError, ClickHouseError: the first for a policy that cannot be used, the second
            when stop was set before NATS could be reached, the third for a DSN that cannot be right.
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
    history = _history(policy, settings, shares_chdb)
    return vessel(source, sink, policy, settings, metrics, history, _context(policy, settings, shares_chdb))


def _history(policy: PolicySet, settings: Settings, shares_chdb: bool) -> LogHistory | None:
    if has_snapshot(settings.recovery_dir("vessel")):
        return None

    def window_s(ship_id: str) -> int:
        return policy.for_ship(ship_id).detect.rates.window_s

    return log_history(
        settings.clickhouse_dsn.get_secret_value(),
        settings.clickhouse_database,
        now=datetime.now(UTC),
        window_s=window_s,
        shares_chdb=shares_chdb,
    )


def _context(policy: PolicySet, settings: Settings, shares_chdb: bool) -> ContextSource | None:
    """Whom enrich asks; its bounds are those of the policy of all ships."""
    ships = [policy.default, *map(policy.for_ship, policy.ships)]
    if not any(each.features.enrichment for each in ships):
        return None
    dsn = settings.clickhouse_dsn.get_secret_value()
    return try_context(dsn, settings.clickhouse_database, policy.default.enrich, shares_chdb=shares_chdb)


def has_snapshot(folder: Path) -> bool:
    """Whether a recovery store holds any state; False for one that is not there or cannot be read."""
    try:
        for path in folder.glob("part-*.sqlite3"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
                if store.execute("SELECT 1 FROM snaps LIMIT 1").fetchone() is not None:
                    return True
    except sqlite3.Error as error:
        log.warning("no look into the recovery store", folder=str(folder), reason=str(error))
    return False


def flow() -> Dataflow:
    """The flow by the environment's settings, for `python -m bytewax.run flows.vessel`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("vessel"), StopEvent())
