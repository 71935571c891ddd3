"""The API over a real chDB, filled by the archive's own row functions."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from clickhouse_connect.driver.client import Client

from api.app import create_app
from operators.clickhouse import Reader, Row, migrate, open_client
from operators.clickhouse.rows import COLUMNS
from policy import load_policy
from schemas.settings import Settings
from tests.api.client import ApiClient
from tests.support.clickhouse import chdb_dsn, clickhouse_database, retention
from tests.support.make import at

__all__ = ["chdb_dsn", "clickhouse_database"]

NOW = at(3600)


class Archive:
    """Writes rows as the archive flow does; each call is one insert a table, so one part."""

    def __init__(self, client: Client, database: str) -> None:
        self.client = client
        self.database = database

    def add(self, *rows: Row) -> None:
        for table in dict.fromkeys(row.table for row in rows):
            values = [row.values for row in rows if row.table == table]
            self.client.insert(table, values, COLUMNS[table], database=self.database)

    def count(self, table: str) -> int:
        return int(self.client.query(f"SELECT count() FROM {self.database}.{table}").result_rows[0][0])


@pytest.fixture
def archive(chdb_dsn: str, clickhouse_database: str) -> Iterator[Archive]:
    client = open_client(chdb_dsn)
    migrate(client, clickhouse_database, retention())
    # Rows written twice must count once before any merge has come by.
    client.command(f"SYSTEM STOP MERGES {clickhouse_database}.incidents")
    client.command(f"SYSTEM STOP MERGES {clickhouse_database}.suppressions")
    yield Archive(client, clickhouse_database)
    client.close()


@pytest.fixture
def reader(chdb_dsn: str, archive: Archive) -> Iterator[Reader]:
    reader = Reader(chdb_dsn, archive.database)
    yield reader
    reader.close()


@pytest.fixture
def now() -> Callable[[], datetime]:
    return lambda: NOW


@pytest.fixture
def api(reader: Reader, now: Callable[[], datetime]) -> ApiClient:
    settings = Settings(ship_id="aurora")
    return ApiClient(create_app(reader, settings=settings, policy=load_policy(None), clock=now))
