"""The archive flow: everything that JetStream holds, into ClickHouse, for people to read.

    TELEMETRY ─ decode ─ admit ─ telemetry_rows ─┐
                   │        │                    │
               (dropped)  dropped (counted)      ├─ rows ─ clickhouse
                                                 │
    all other streams ────────── message_rows ───┘
                                      └ unreadable: a row of dead_letters

Telemetry passes the same decode and admit as in the vessel flow, redaction included, before a line
is stored; what decode cannot read the vessel flow publishes to DEAD_LETTERS, which is archived too.
An epoch commits when its rows are durable; rows written twice collapse. Run it as `watchkeeper run
archive`, or as `python -m bytewax.run flows.archive`.
"""

from collections.abc import Iterable
from logging import DEBUG
from threading import Event as StopEvent

import bytewax.operators as op
import structlog
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from operators.admit import admit
from operators.clickhouse import ClickHouseDsn, ClickHouseSink, Row, connector
from operators.clickhouse.archive import Archiver, UnreadableError, event_row
from operators.decode import decode
from operators.jetstream import JetStreamSource, NatsConfig, ensure_streams
from operators.observability import FlowMetrics, configure_logging
from operators.rebuild import read_rebuild
from policy import PolicySet, load_policy
from schemas.event import Batch, RawMessage
from schemas.settings import Settings

TELEMETRY = "TELEMETRY"

KeyedRow = tuple[str, Row]

log = structlog.get_logger()


def archive(
    source: Source[RawMessage],
    sink: Sink[KeyedRow],
    policy: PolicySet,
    settings: Settings,
    metrics: FlowMetrics,
) -> Dataflow:
    """Wire the flow; source gives the messages of all streams, sink takes ("0", Row)."""
    archiver = Archiver(settings.ship_id)

    def message_rows(batch: list[RawMessage]) -> Iterable[KeyedRow]:
        for raw in batch:
            row = _message_row(archiver, raw, metrics)
            if row is not None:
                yield "0", row

    flow = Dataflow("archive")
    messages = op.input("messages", flow, source)
    split = op.branch("is_telemetry", messages, _is_telemetry)
    decoded = decode("decode", split.trues, ship_id=settings.ship_id, policy=policy, metrics=metrics, log_level=DEBUG)
    admitted = admit("admit", decoded.events, policy=policy, metrics=metrics)
    telemetry = op.flat_map("telemetry_rows", admitted, _telemetry_rows)
    others = op.flat_map_batch("message_rows", split.falses, message_rows)
    op.output("clickhouse", op.merge("rows", telemetry, others), sink)
    return flow


def _is_telemetry(raw: RawMessage) -> bool:
    return raw.stream == TELEMETRY


def _telemetry_rows(batch: Batch) -> Iterable[KeyedRow]:
    for event in batch:
        row = event_row(event)
        if row is not None:
            yield "0", row


def _message_row(archiver: Archiver, raw: RawMessage, metrics: FlowMetrics) -> Row | None:
    try:
        return archiver.row(raw)
    except UnreadableError as error:
        metrics.dead_letters.labels("archive_unreadable").inc()
        log.warning("dead letter", reason=str(error), stream=raw.stream, subject=raw.subject, sequence=raw.sequence)
        return archiver.dead_letter(raw, str(error))


def from_settings(settings: Settings, metrics: FlowMetrics, stop: StopEvent) -> Dataflow:
    """The flow on JetStream and ClickHouse, as the settings say; stop ends it cleanly.

    ClickHouse may be away at the start. Raises:
        PolicyError, NatsError, ClickHouseError: for a policy or a DSN that cannot be used, or when
            stop was set before NATS could be reached.
    """
    policy = load_policy(settings.policy_dir)
    dsn = settings.clickhouse_dsn.get_secret_value()
    ClickHouseDsn.parse(dsn)
    connect = connector(dsn, settings.clickhouse_database, retention_days(policy, settings.ship_id))
    nats = NatsConfig.of(settings)
    table = settings.stream_table()
    ensure_streams(nats, table, stop=stop)
    source = JetStreamSource(
        nats,
        list(table),
        window=settings.source_window,
        batch=settings.source_batch,
        metrics=metrics,
        stop=stop,
        starts=read_rebuild(settings.recovery_dir("archive")).starts,
    )
    sink = ClickHouseSink(connect, settings.clickhouse_database, metrics=metrics, stop=stop)
    return archive(source, sink, policy, settings, metrics)


def retention_days(policy: PolicySet, ship_id: str) -> dict[str, int]:
    """The ship's days by table, as the schema's placeholders name them."""
    return {
        name: days for name, days in policy.for_ship(ship_id).retention.model_dump().items() if name.endswith("_days")
    }


def flow() -> Dataflow:
    """The flow by the environment's settings, for `python -m bytewax.run flows.archive`."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    return from_settings(settings, FlowMetrics("archive"), StopEvent())
