"""ClickHouse for tests: real chDB, one folder a process, a fresh database name a test.

chDB opens one folder a process, so every fixture here shares one path, whichever conftest imports it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import Queue

import pytest
from clickhouse_connect.driver.client import Client

from compose.clickhouse_http import serve
from operators.clickhouse import connector, open_client
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


@contextmanager
def http_server(dsn: str, port: int = 0, password: str | None = None) -> Iterator[int]:
    """The HTTP interface over the folder of a chdb:// DSN; gives the port. This process may have the folder open."""
    stop, ready = threading.Event(), Queue[int | BaseException]()

    def run() -> None:
        try:
            serve(Path(dsn.removeprefix("chdb://")), "127.0.0.1", port, stop, password=password, on_ready=ready.put)
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            ready.put(error)

    thread = threading.Thread(target=run, name="clickhouse-http")
    thread.start()
    try:
        got = ready.get(timeout=20)
        if isinstance(got, BaseException):
            raise got
        yield got
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive(), "the HTTP server did not end"


@pytest.fixture(params=["chdb", "http"])
def dsn(request: pytest.FixtureRequest, chdb_dsn: str) -> Iterator[str]:
    """Both ways to reach ClickHouse: within the process, and over HTTP."""
    if request.param == "chdb":
        yield chdb_dsn
        return
    with http_server(chdb_dsn) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def connect(dsn: str, clickhouse_database: str) -> Callable[[], Client]:
    """Opens clients on the test's database; the first brings the schema up to date."""
    return connector(dsn, clickhouse_database, retention())
