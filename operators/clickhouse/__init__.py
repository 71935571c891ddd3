"""ClickHouse: connections, schema, a sink that loses nothing, and bounded reading."""

from operators.clickhouse.connection import ClickHouseDsn, connector, open_client
from operators.clickhouse.errors import (
    ClickHouseAwayError,
    ClickHouseError,
    ClickHouseQueryError,
    QueryTooBigError,
    SchemaError,
)
from operators.clickhouse.migrate import applied_version, migrate
from operators.clickhouse.reader import Reader
from operators.clickhouse.rows import Arrival, Row
from operators.clickhouse.sink import ClickHouseSink

__all__ = [
    "Arrival",
    "ClickHouseAwayError",
    "ClickHouseDsn",
    "ClickHouseError",
    "ClickHouseQueryError",
    "ClickHouseSink",
    "QueryTooBigError",
    "Reader",
    "Row",
    "SchemaError",
    "applied_version",
    "connector",
    "migrate",
    "open_client",
]
