"""Connections to ClickHouse: a server over HTTP, or chDB within this process; by DSN alone."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError as DriverError
from urllib3.exceptions import HTTPError

from operators.clickhouse.errors import ClickHouseError, SchemaError, explain
from operators.clickhouse.migrate import migrate

CONNECT_TIMEOUT_S: Final = 3
READ_TIMEOUT_S: Final = 60

TRANSPORT_ERRORS: Final = (DriverError, HTTPError, OSError)
"""Whatever a client raises when the server refuses, fails or is away."""


@dataclass(frozen=True)
class ClickHouseDsn:
    """A DSN taken apart; shown is what may appear in messages (no password)."""

    text: str
    shown: str
    embedded: bool
    path: str

    @classmethod
    def parse(cls, text: str) -> "ClickHouseDsn":
        """Read chdb:///path, http://user:password@host:8123/database or https://….

        Raises:
            ClickHouseError: when it is none of them; the password is not repeated.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ClickHouseError(f"CLICKHOUSE_DSN cannot be read ({error}): {_EXPECTED}") from error
        if parts.scheme == "chdb":
            if parts.netloc or not parts.path.strip("/"):
                raise ClickHouseError(f"CLICKHOUSE_DSN of scheme chdb names no absolute folder: {_EXPECTED}")
            return cls(text, f"chdb://{parts.path}", True, unquote(parts.path))
        if parts.scheme not in ("http", "https") or not host:
            raise ClickHouseError(f"CLICKHOUSE_DSN has scheme {parts.scheme!r}: {_EXPECTED}")
        shown = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        return cls(text, shown, False, unquote(parts.path).strip("/"))


_EXPECTED = "expected for example http://127.0.0.1:8123/watchkeeper or chdb:///var/lib/watchkeeper/clickhouse"


def open_client(
    dsn: str,
    database: str | None = None,
    *,
    read_timeout_s: int = READ_TIMEOUT_S,
    connect_timeout_s: int = CONNECT_TIMEOUT_S,
    settings: Mapping[str, Any] | None = None,
) -> Client:
    """Open one client; times come back aware, in UTC.

    database: the one that unqualified tables are in, which must exist; None for the server's own
    default. A client of chDB runs one statement at a time; one of a server may be shared by threads
    (no sessions are used). Connecting waits at most connect_timeout_s, an answer
    read_timeout_s.

    Raises:
        ClickHouseAwayError: when it cannot be reached, refuses us, or has no such database (yet).
        ClickHouseError: for a DSN that cannot be right.
    """
    target = ClickHouseDsn.parse(dsn)
    if not target.embedded and database is not None and target.path not in ("", database):
        raise ClickHouseError(
            f"CLICKHOUSE_DSN names database {target.path!r} but WATCHKEEPER_CLICKHOUSE_DATABASE is {database!r}: "
            "make them the same, or leave the database out of the DSN"
        )
    # Every failure is raised or logged by us, in one line; the driver's own lines would repeat it with a stack trace.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    try:
        if target.embedded:
            Path(target.path).mkdir(parents=True, exist_ok=True)
            return clickhouse_connect.get_client(
                interface="chdb",
                path=target.path,
                database=database or "default",
                tz_mode="aware",
                settings=dict(settings or {}),
            )
        return clickhouse_connect.get_client(
            **_server(target),
            database=database or "default",
            tz_mode="aware",
            settings=dict(settings or {}),
            connect_timeout=connect_timeout_s,
            send_receive_timeout=read_timeout_s,
            autogenerate_session_id=False,
            dedicated_pool=True,
            client_name="watchkeeper",
        )
    except TRANSPORT_ERRORS as error:
        raise explain(error, target.shown, database) from error


def _server(target: ClickHouseDsn) -> dict[str, Any]:
    parts = urlsplit(target.text)
    secure = parts.scheme == "https"
    return {
        "interface": parts.scheme,
        "host": parts.hostname,
        "port": parts.port or (8443 if secure else 8123),
        "username": unquote(parts.username) if parts.username else "default",
        "password": unquote(parts.password) if parts.password else "",
    }


def connector(dsn: str, database: str, retention: Mapping[str, int]) -> Callable[[], Client]:
    """A function that opens a client, and brings the schema up to date when it first succeeds.

    It raises as open_client does, and SchemaError when code and database do not fit. Thread-safe.
    """
    lock, migrated = threading.Lock(), threading.Event()

    def connect() -> Client:
        with lock:
            if not migrated.is_set():
                _migrate(dsn, database, retention)
                migrated.set()
        return open_client(dsn, database)

    return connect


def _migrate(dsn: str, database: str, retention: Mapping[str, int]) -> None:
    client = open_client(dsn)
    try:
        migrate(client, database, retention)
    except SchemaError:
        raise
    except TRANSPORT_ERRORS as error:
        raise explain(error, ClickHouseDsn.parse(dsn).shown, database) from error
    finally:
        client.close()
