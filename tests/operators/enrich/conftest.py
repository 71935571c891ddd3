import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import pytest

from operators.clickhouse import ClickHouseSink, Reader, Row, connector
from operators.clickhouse.rows import Arrival, anomaly_row
from operators.observability import FlowMetrics
from schemas.anomaly import AnomalyDetected
from tests.support.clickhouse import chdb_dsn, clickhouse_database, retention
from tests.support.make import at

__all__ = ["chdb_dsn", "clickhouse_database"]

Store = Callable[[Iterable[Row]], None]


@pytest.fixture
def store(chdb_dsn: str, clickhouse_database: str) -> Store:
    """Writes rows into this test's database, as the archive flow does."""
    connect = connector(chdb_dsn, clickhouse_database, retention())

    def write(rows: Iterable[Row]) -> None:
        sink = ClickHouseSink(connect, clickhouse_database, metrics=FlowMetrics("archive"), stop=threading.Event())
        part = sink.build_part("sink", "0", None)
        part.write_batch(list(rows))
        part.close()

    return write


@pytest.fixture
def reader(store: Store, chdb_dsn: str, clickhouse_database: str) -> Iterator[Reader]:
    """Reads from it; the schema is there."""
    store([])
    connector(chdb_dsn, clickhouse_database, retention())().close()
    with closing(Reader(chdb_dsn, clickhouse_database, max_seconds=5.0)) as made:
        yield made


def detected(*anomalies: AnomalyDetected) -> list[Row]:
    """Rows of anomalies as they were published."""
    return [
        anomaly_row(each, Arrival(at(place), place), each.model_dump_json())
        for place, each in enumerate(anomalies, start=1)
    ]
