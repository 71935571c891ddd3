"""ClickHouse for tests: real chDB, one folder a process, a fresh database name a test.

chDB opens one folder a process, so every fixture here shares one path, whichever conftest imports it.
"""

from collections.abc import Iterator
from itertools import count

import pytest
from clickhouse_connect.driver.client import Client

from operators.clickhouse import open_client
from schemas.ddl import retention_names

DAYS = 10_000
"""Tests use fixed dates: nothing may expire."""

_path: list[str] = []
_anchor: list[Client] = []
_names = count(1)


def retention(days: int = DAYS) -> dict[str, int]:
    """The same retention for every table."""
    return dict.fromkeys(retention_names(), days)


@pytest.fixture
def chdb_dsn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The DSN of this process's chDB; it stays open until the process ends (opening takes a second)."""
    if not _path:
        _path.append(str(tmp_path_factory.mktemp("chdb")))
        _anchor.append(open_client(f"chdb://{_path[0]}"))
    return f"chdb://{_path[0]}"


@pytest.fixture
def clickhouse_database(chdb_dsn: str) -> Iterator[str]:
    """A database name nobody has used; dropped after the test."""
    name = f"test_{next(_names)}"
    yield name
    _anchor[0].command(f"DROP DATABASE IF EXISTS {name} SYNC")
