"""chDB behind ClickHouse's HTTP interface, so that several processes on one machine share one database.

`watchkeeper clickhouse` serves it; clients use an ordinary DSN, http://127.0.0.1:8123/watchkeeper.
Answered: GET and POST / (statement in the parameter query or in the body, inserts with their data,
param_x, database, settings, default_format), GET /ping, /replicas_status. Session ids, users' rights
and compressed answers are not known here. Who may send statements may read what this process may
read, so it listens on loopback unless a password is set, and refuses what a web page sends.
"""

import asyncio
import base64
import binascii
import contextlib
import gzip
import hmac
import json
import socket
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import lz4.frame  # type: ignore[import-untyped]
import structlog
import uvicorn

from compose.chdb_engine import Answer, Engine, EngineError, Statement
from compose.locks import ComposeError, FileLock
from schemas.settings import Settings

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
THREADS: Final = 8

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

log = structlog.get_logger()


class _RefusedError(Exception):
    """A request that is not answered: status, ClickHouse's code, and why."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")
        self.status = status
        self.code = code


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes
    headers: dict[str, str]


class ClickHouseApp:
    """The ASGI application. local: refuse a Host that is no loopback name (a page may have rebound it)."""

    def __init__(self, engine: Engine, *, password: str | None = None, local: bool = True) -> None:
        self._engine = engine
        self._password = password
        self._local = local
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chdb")

    def close(self) -> None:
        """Wait for the statements that still run."""
        self._threads.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            response = await self._respond(scope, headers, receive)
        except (EngineError, _RefusedError) as error:
            response = _Response(error.status, f"{error}\n".encode(), {"x-clickhouse-exception-code": str(error.code)})
        await _send(send, response, self._engine.timezone)

    async def _respond(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> _Response:
        method, path = scope["method"], scope["path"]
        if path in ("/ping", "/replicas_status") and method in ("GET", "HEAD"):
            return _Response(200, b"Ok.\n", {})
        if path != "/" or method not in ("GET", "POST"):
            raise _RefusedError(404, 36, f"There is no handle {method} {path}: GET or POST /, or GET /ping")
        _check_origin(headers, local=self._local)
        self._check_password(headers)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if query.get("decompress") == "1":
            raise _RefusedError(400, 48, "ClickHouse's own compression is not known here: use compress=False")
        body = _decoded(await _read(receive), headers.get("content-encoding", "identity"))
        statement = Statement.of(
            query, body, readonly=method == "GET", default_format=headers.get("x-clickhouse-format", "")
        )
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.run, statement)
        return _Response(200, answer.data, _headers(answer, query.get("query_id")))

    def _check_password(self, headers: Mapping[str, str]) -> None:
        if self._password is None:
            return
        given = headers.get("x-clickhouse-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(token, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError) as error:
                raise _RefusedError(400, 516, f"Authorization header cannot be read: {error}") from error
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            raise _RefusedError(403, 516, "Authentication failed: put the password into CLICKHOUSE_DSN")


def _check_origin(headers: Mapping[str, str], *, local: bool) -> None:
    """Refuse what a browser sends on behalf of some page."""
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
        raise _RefusedError(403, 497, "Requests of web pages are refused")
    if local and not is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname or ""):
        raise _RefusedError(403, 497, f"Host {headers.get('host')!r} is not this machine's loopback: use 127.0.0.1")


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RefusedError(400, 210, "The client went away")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _RefusedError(413, 117, f"More than {MAX_BODY_BYTES} bytes in one request: send smaller inserts")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _decoded(body: bytes, encoding: str) -> bytes:
    try:
        if encoding == "identity" or not body:
            return body
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body)
        if encoding == "lz4":
            return bytes(lz4.frame.decompress(body))
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise _RefusedError(400, 271, f"Body cannot be decompressed as {encoding}: {error}") from error
    raise _RefusedError(400, 48, f"Content-Encoding {encoding} is not known: identity, gzip, deflate or lz4")


def _headers(answer: Answer, query_id: str | None) -> dict[str, str]:
    headers = {"x-clickhouse-summary": json.dumps(answer.summary), "x-clickhouse-server-display-name": "watchkeeper"}
    if answer.format is not None:
        headers["x-clickhouse-format"] = answer.format
    if query_id is not None:
        headers["x-clickhouse-query-id"] = "".join(c for c in query_id if c.isascii() and c.isprintable())
    return headers


async def _send(send: Send, response: _Response, timezone: str) -> None:
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(response.body)),
        "x-clickhouse-timezone": timezone,
        **response.headers,
    }
    pairs = [(key.encode(), value.encode("latin-1", "replace")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": pairs})
    await send({"type": "http.response.body", "body": response.body})


def is_loopback(host: str) -> bool:
    """Whether an address reaches only this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


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
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
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
