"""The first half of the vessel flow: telemetry in, anomalies out.

    telemetry ─ decode ─ admit ─ detect ─▶ events (anomalies, ticks, commands, devices)
                   │        │       │
             dead letters   │   anomalies
                         dropped (counted)

In a process of its own (`watchkeeper run detect`) it hands its events over to correlate through ANOMALIES:

    telemetry ─ decode ─ admit ─ detect ─ handed_over ─ jetstream
                   │        │
             dead letters   dropped (counted)
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as StopEvent

import bytewax.operators as op
import structlog
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import Source
from bytewax.outputs import Sink

from operators.admit import admit
from operators.clickhouse.history import log_history
from operators.decode import decode
from operators.detect import detect
from operators.detect.custom import check_custom
from operators.detect.log_history import LogHistory
from operators.handover import handed_over
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from operators.publish import by_stream, outgoing
from operators.rebuild import Rebuild, read_rebuild
from policy import PolicySet, load_policy
from schemas.dead_letter import DeadLetter
from schemas.event import Event, Outgoing, RawMessage
from schemas.settings import Settings

OUTPUT_STREAMS = ("ANOMALIES", "DEAD_LETTERS")

log = structlog.get_logger()


@dataclass(frozen=True)
class Detected:
    """What leaves the first half: events for correlate, and what could not be read."""

    events: Stream[Event]
    dead_letters: Stream[DeadLetter]


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
    return Detected(events, decoded.dead_letters)


def detect_alone(
    source: Source[RawMessage],
    sink: Sink[tuple[str, Outgoing]],
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
    history: LogHistory | None = None,
) -> Dataflow:
    """Wire the half as a flow of its own; source gives TELEMETRY with ticks, sink takes (stream, message)."""
    flow = Dataflow("detect")
    telemetry = op.input("telemetry", flow, source)
    detected = detection(telemetry, policy=policy, settings=settings, metrics=metrics, history=history)
    handed = op.filter_map("handed_over", detected.events, handed_over)
    dead_letters = op.map("dead_letters", detected.dead_letters, outgoing)
    op.output("jetstream", by_stream("by_stream", op.merge("outgoing", handed, dead_letters)), sink)
    return flow


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent) -> Dataflow:
    """The half as a flow on JetStream, as the settings say; stop ends it cleanly. Raises as the vessel flow does."""
    policy = load_policy(settings.policy_dir)
    nats = NatsConfig.of(settings)
    ensure_streams(nats, settings.stream_table(), stop=stop)
    rebuild = read_rebuild(settings.recovery_dir("detect"))
    source = telemetry_source(settings, metrics, stop, rebuild, subjects=read_subjects(settings))
    sink = JetStreamSink(nats, OUTPUT_STREAMS, metrics=metrics, wait_s=settings.nats_wait_s, stop=stop)
    return detect_alone(source, sink, policy, settings, metrics, known_lines("detect", policy, settings))


def telemetry_source(
    settings: Settings,
    metrics: FlowMetrics,
    stop: StopEvent,
    rebuild: Rebuild,
    *,
    subjects: tuple[str, ...] = (),
    heartbeat_ship: str | None = None,
) -> JetStreamSource:
    """TELEMETRY with ticks and gaps; subjects: a share of it, heartbeat_ship: whose ops.tick is published."""
    return JetStreamSource(
        NatsConfig.of(settings),
        ["TELEMETRY"],
        window=settings.source_window,
        batch=settings.source_batch,
        metrics=metrics,
        stop=stop,
        ticks=True,
        gaps=True,
        starts=rebuild.starts,
        subjects=subjects,
        heartbeat_ship=heartbeat_ship,
    )


def read_subjects(settings: Settings) -> tuple[str, ...]:
    """What a detect process reads of TELEMETRY: its share, and always what moves time and what people say."""
    return (*settings.detect_subjects, "ops.>") if settings.detect_subjects else ()


def known_lines(
    flow_name: str, policy: PolicySet, settings: Settings, *, shares_chdb: bool = False
) -> LogHistory | None:
    """What ClickHouse knows of earlier log lines, for a flow that starts without state; None for one that has some."""
    if has_snapshot(settings.recovery_dir(flow_name)):
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
    """The flow by the environment's settings, for `python -m bytewax.run flows.detect`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("detect"), StopEvent())
