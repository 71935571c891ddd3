"""A Bytewax sink that writes rows to ClickHouse; an epoch commits only after its rows are durable."""

import threading
import weakref
from collections.abc import Callable

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from clickhouse_connect.driver.client import Client

from operators.clickhouse.inserter import Inserter
from operators.clickhouse.rows import Row
from operators.clickhouse.writer import BackgroundWriter, Limits
from operators.observability import FlowMetrics


class ClickHousePart(StatefulSinkPartition[Row, None]):
    """The one partition. State: none; its snapshot is the wait until everything is written."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer
        # a flow that crashes never calls close(): end the thread when the partition is forgotten
        weakref.finalize(self, writer.abandon).atexit = False

    def write_batch(self, values: list[Row]) -> None:
        """Hand rows to the writer; blocks while too many wait."""
        self._writer.put(values)

    def snapshot(self) -> None:
        """Return when all rows are durable, so that the epoch never outruns the data."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and end the writer."""
        self._writer.close()


class ClickHouseSink(FixedPartitionedSink[Row, None]):
    """Takes ("0", Row), or any other key, and writes each row at least once; tables collapse repeats.

    connect opens a client (see connector) and is called from the writer's thread, first when the
    first row is written, so ClickHouse may be down at the start. max_rows: rows an insert; max_wait_s:
    how long a row waits for others; max_buffered: rows in memory before the flow is held back. While
    ClickHouse is away the flow waits; once stop is set it fails instead, within 5 s, and nothing is
    committed. A row whose value the server refuses goes to dead_letters with the reason.

    Raises:
        ClickHouseError: from write_batch, snapshot and close, after stop with ClickHouse away.
        SchemaError: likewise, for a database newer than this code.
        ValueError: for limits that cannot be.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        database: str,
        *,
        metrics: FlowMetrics,
        stop: threading.Event,
        max_rows: int = 5_000,
        max_wait_s: float = 0.5,
        max_buffered: int = 50_000,
    ) -> None:
        self._connect = connect
        self._database = database
        self._metrics = metrics
        self._stop = stop
        self._limits = Limits(max_rows, max_wait_s, max_buffered)

    def list_parts(self) -> list[str]:
        """One partition: one writer keeps inserts few and large."""
        return ["0"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> ClickHousePart:
        """Start the writer; returns at once, also while ClickHouse is away."""
        inserter = Inserter(self._connect, self._database, self._metrics)
        writer = BackgroundWriter(
            inserter.write, inserter.close, metrics=self._metrics, stop=self._stop, limits=self._limits
        )
        return ClickHousePart(writer)
