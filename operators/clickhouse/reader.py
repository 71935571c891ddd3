"""Bounded, thread-safe reading for the API and for enrichment."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from operators.clickhouse.connection import TRANSPORT_ERRORS, ClickHouseDsn, open_client
from operators.clickhouse.errors import (
    TOO_LONG_CODES,
    ClickHouseAwayError,
    ClickHouseError,
    QueryTooBigError,
    brief,
    explain,
)

MAX_CLIENTS: Final = 4


class Reader:
    """Runs queries with bound parameters on a small pool of clients.

    max_seconds and max_rows bound every query; over them it fails rather than answer in part.
    settings: others of ClickHouse's, for every query. A
    server that says nothing is given up after read_timeout_s (5 s more than max_seconds unless told).
    Clients are opened when first needed, so a reader may be made before ClickHouse is there; one
    that failed is thrown away. chDB gives 340–650 queries/s on one client, 980–1,180 on two to four
    (2 cores, sum over a million numbers). Any number of threads may call query.
    """

    def __init__(
        self,
        dsn: str,
        database: str,
        *,
        max_seconds: float = 10.0,
        max_rows: int = 100_000,
        max_clients: int = MAX_CLIENTS,
        settings: Mapping[str, Any] | None = None,
        read_timeout_s: int | None = None,
        open_with: Callable[..., Client] = open_client,
    ) -> None:
        self.database = database
        self._dsn = dsn
        self._shown = ClickHouseDsn.parse(dsn).shown
        self._max_seconds = max_seconds
        self._read_timeout_s = int(max_seconds) + 5 if read_timeout_s is None else read_timeout_s
        self._settings = {
            **(settings or {}),
            "max_execution_time": max_seconds,
            "timeout_overflow_mode": "throw",
            "max_result_rows": max_rows,
            "result_overflow_mode": "throw",
        }
        self._open = open_with
        self._places = threading.BoundedSemaphore(max_clients)
        self._idle: LifoQueue[Client] = LifoQueue()
        self._closed = False

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one query; rows as dicts by column name, times aware and in UTC.

        sql names its parameters as {name:Type}, for example {ship:String}; unqualified tables are
        those of the reader's database.

        Raises:
            QueryTooBigError: when it takes longer or gives more rows than the reader allows.
            ClickHouseAwayError: when ClickHouse is away, has no such table yet, or all clients stay busy.
            ClickHouseQueryError: when it refuses the query.
        """
        with self._client() as client:
            result = client.query(sql, parameters=dict(parameters or {}), settings=self._settings)
            return list(result.named_results())

    def ping(self) -> None:
        """Ask for nothing; raises as query does when ClickHouse is away."""
        self.query("SELECT 1 AS one")

    def close(self) -> None:
        """Close the clients; those in use are closed when they come back."""
        self._closed = True
        while (client := self._take_idle()) is not None:
            client.close()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        if not self._places.acquire(timeout=self._max_seconds):
            raise ClickHouseAwayError(
                f"ClickHouse at {self._shown}: all readers busy for {self._max_seconds:g} s; "
                "ask for less, or again later"
            )
        try:
            client = self._take_idle() or self._open(self._dsn, self.database, read_timeout_s=self._read_timeout_s)
            try:
                yield client
            except TRANSPORT_ERRORS as error:
                failure = self._failure(error)
                self._put_back(client, broken=isinstance(failure, ClickHouseAwayError))
                raise failure from error
            except BaseException:
                self._put_back(client, broken=True)
                raise
            self._put_back(client, broken=False)
        finally:
            self._places.release()

    def _failure(self, error: Exception) -> ClickHouseError:
        code = getattr(error, "code", None)
        if code in TOO_LONG_CODES:
            return QueryTooBigError(f"the query takes too long or gives too much ({brief(error)}): ask for less", code)
        return explain(error, self._shown, self.database)

    def _take_idle(self) -> Client | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _put_back(self, client: Client, *, broken: bool) -> None:
        if broken or self._closed:
            client.close()
        else:
            self._idle.put(client)
