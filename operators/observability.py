"""What a flow says about itself: Prometheus metrics and structured logs."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0, 30.0)


# without the values of local variables: they may hold a password
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class FlowMetrics:
    """The metrics of one flow, in a registry of its own.

    Names follow the Prometheus conventions; labels are bounded (reasons, streams, tables, stages:
    never ids).
    """

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.registry = CollectorRegistry()
        self.messages_in = self._counter("messages_in", "Messages that entered the flow.", "stream")
        self.events = self._counter("events", "Events decoded from messages, by kind.", "kind")
        self.dead_letters = self._counter("dead_letters", "Inputs that could not be read, by reason class.", "reason")
        self.dropped = self._counter("dropped", "Events that policy dropped, by reason.", "reason")
        self.redacted = self._counter("redacted", "Values redacted before anything was published, by kind.", "kind")
        self.anomalies = self._counter("anomalies", "Anomalies, by type and state.", "anomaly_type", "state")
        self.enriched = self._counter(
            "enriched", "Anomalies that went on, by how much of their context was known.", "context"
        )
        self.late = self._counter("late", "Samples or findings too old to be judged, by stage.", "stage")
        self.incidents = self._counter("incidents", "Incident revisions, by event.", "event")
        self.suppressed = self._counter("suppressed", "Findings held back, by kind.", "kind")
        self.published = self._counter("published", "Messages published and acknowledged.", "stream")
        self.publish_skipped = self._counter("publish_skipped", "Messages already in the stream on resume.", "stream")
        self.publish_unclaimed = self._gauge(
            "publish_unclaimed", "Messages of an earlier run, read back on resume, that have not come again.", "stream"
        )
        self.publish_retries = self._counter("publish_retries", "Publishes tried again.", "stream")
        self.publish_refused = self._counter("publish_refused", "Messages too large to publish, left out.", "stream")
        self.rows_written = self._counter("rows_written", "Rows written to ClickHouse.", "table")
        self.write_retries = self._counter("write_retries", "Writes to ClickHouse tried again.", "table")
        self.rows_waiting = Gauge(
            "watchkeeper_rows_waiting", "Rows taken in that are not in ClickHouse yet.", registry=self.registry
        )
        self.gap_messages = self._counter(
            "gap_messages", "Messages that retention removed before they were read.", "stream"
        )
        self.lag = self._gauge(
            "lag_messages", "Last sequence of the stream minus the last that entered the flow.", "stream"
        )
        self.nats_connected = self._gauge(
            "nats_connected", "1 while the stream's reader is connected, else 0.", "stream"
        )
        self.log_time = self._gauge("log_time_seconds", "Largest arrival time that entered the flow.", "stream")
        self.fast_path = Histogram(
            "watchkeeper_fast_path_seconds",
            "Arrival of the telemetry to publication of the incident.",
            ("event",),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"watchkeeper_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"watchkeeper_{name}", text, labels, registry=self.registry)


def configure_logging(
    level: str = "info",
    form: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send structured logs to stderr: one JSON object a line, or the readable form on a terminal."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if console else _TRACEBACKS,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
