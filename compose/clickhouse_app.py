"""ClickHouse's HTTP interface as an ASGI application over chDB."""

import asyncio
import base64
import binascii
import gzip
import hmac
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import lz4.frame  # type: ignore[import-untyped]

from compose.chdb_engine import Answer, Engine, EngineError, Statement
from compose.http_form import FormError, form_boundary, form_fields

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
THREADS: Final = 8

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


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
        query, body = _with_form(query, body, headers.get("content-type", ""))
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


def _with_form(query: dict[str, str], body: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
    """The parameters with those of a form, which win, and what is left of the body."""
    try:
        boundary = form_boundary(content_type)
        return (query, body) if boundary is None else (query | form_fields(body, boundary), b"")
    except FormError as error:
        status, code = (413, 117) if error.too_big else (400, 36)
        raise _RefusedError(status, code, str(error)) from error


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
