"""chDB behind ClickHouse's HTTP interface, so that several processes on one machine share one database.

`watchkeeper clickhouse` serves it; clients use an ordinary DSN, http://127.0.0.1:8123/watchkeeper.
Answered: GET and POST / (statement in the parameter query or in the body, inserts with their data,
param_x, database, settings, default_format), GET /ping, /replicas_status. Session ids, users' rights
and compressed answers are not known here. Who may send statements may read what this process may
read, so it listens on loopback unless a password is set, and refuses what a web page sends.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from urllib.parse import unquote, urlsplit

import structlog
import uvicorn

from compose.chdb_engine import Engine
from compose.clickhouse_app import ClickHouseApp, is_loopback
from compose.locks import ComposeError, FileLock
from schemas.settings import Settings

log = structlog.get_logger()


def serve(
    path: Path,
    host: str,
    port: int,
    stop: Event,
    *,
    password: str | None = None,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve the folder until stop is set; statements that run are finished first.

    port 0 takes a free one; on_ready gets the port once requests are answered. May run in any
    thread. stop is looked at every 0.1 s.

    Raises:
        ComposeError: when the folder or the port is in use, or the address is open to the network
            without a password.
    """
    local = is_loopback(host)
    if not local and not password:
        raise ComposeError(
            f"clickhouse: {host} is open to the network and no password is set. Use 127.0.0.1, or set CLICKHOUSE_DSN "
            "to http://watchkeeper:PASSWORD@HOST:PORT/watchkeeper here and in the other processes."
        )
    with FileLock(path.with_name(f".{path.name}.lock"), f"the database {path}"):
        listener = _listen(host, port)
        try:
            engine = Engine(path)
        except BaseException:
            listener.close()
            raise
        app = ClickHouseApp(engine, password=password, local=local)
        try:
            asyncio.run(_Server(app, stop, on_ready).serve(sockets=[listener]))
        finally:
            app.close()
            engine.close()
            listener.close()


def _listen(host: str, port: int) -> socket.socket:
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        return listener
    except (OSError, OverflowError) as error:
        listener.close()
        raise ComposeError(f"clickhouse: cannot listen on {host}:{port} ({error}). Choose another --port.") from error


class _Server(uvicorn.Server):
    """uvicorn that ends when stop is set, without signal handlers of its own."""

    def __init__(self, app: ClickHouseApp, stop: Event, on_ready: Callable[[int], None]) -> None:
        super().__init__(
            uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, timeout_graceful_shutdown=10)
        )
        self._stop = stop
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: whoever owns stop decides."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say on which port requests are answered."""
        await super().startup(sockets)
        address = sockets[0].getsockname() if sockets else ("", 0)
        log.info("clickhouse_listening", host=address[0], port=address[1])
        self._on_ready(address[1])

    async def on_tick(self, counter: int) -> bool:
        """Look at stop, ten times a second."""
        self.should_exit = self.should_exit or self._stop.is_set()
        return await super().on_tick(counter)


def run(path: Path, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. The password is that of CLICKHOUSE_DSN, if it has one."""
    from compose.errors import exit_code, report
    from compose.launch import stop_on_signals

    stop = Event()
    stop_on_signals(stop.set)
    settings = Settings.load()
    try:
        password = urlsplit(settings.clickhouse_dsn.get_secret_value()).password
        serve(path, host, port, stop, password=unquote(password) if password else None)
    except ComposeError as error:
        report(error, flow="clickhouse", debug=settings.log_level == "debug")
        return exit_code(error)
    return 0
