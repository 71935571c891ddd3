"""Serves the API with uvicorn: as a process of its own, or in a thread of `watchkeeper up`."""

import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from operators.clickhouse import Reader
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.settings import Settings, SettingsError

MAX_CONNECTIONS: Final = 256
STOP_WITHIN_S: Final = 5
BACKLOG: Final = 512


class ApiServer(uvicorn.Server):
    """A uvicorn server that has its port from the start, and leaves signals alone when asked.

    run() serves until should_exit is set (from any thread) or, with signals, until SIGTERM or
    SIGINT; requests under way get 5 s. More than 256 connections are answered with 503.
    """

    def __init__(self, config: uvicorn.Config, sock: socket.socket, *, signals: bool) -> None:
        super().__init__(config)
        self._socket = sock
        self._signals = signals

    @property
    def port(self) -> int:
        """The port it listens on (the one given, or the one the system chose for 0)."""
        return int(self._socket.getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        super().run(sockets or [self._socket])

    def close(self) -> None:
        """Give the port back without having run; harmless otherwise."""
        self._socket.close()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGTERM and SIGINT, unless the server was built without signals."""
        if self._signals:
            with super().capture_signals():
                yield
        else:
            yield


def build_server(app: FastAPI, host: str, port: int, *, signals: bool = True) -> ApiServer:
    """A server ready to run; signals False installs no handlers, for a thread.

    Raises:
        SettingsError: when host and port cannot be had, naming the setting.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    return ApiServer(config, _listen(host, port), signals=signals)


def from_settings(settings: Settings, metrics: FlowMetrics | None = None, *, signals: bool = True) -> ApiServer:
    """The API's server as the settings say; ClickHouse need not be there yet.

    Raises:
        SettingsError, PolicyError, ClickHouseError: the last for a DSN that cannot be right.
    """
    reader = Reader(settings.clickhouse_dsn.get_secret_value(), settings.clickhouse_database)
    app = create_app(reader, settings=settings, policy=load_policy(settings.policy_dir), metrics=metrics)
    return build_server(app, settings.api_host, settings.api_port, signals=signals)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return _bound(host, port)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"WATCHKEEPER_API_PORT: port {port} on {host} is in use, choose another, or 0 for a free one"
            ) from error
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error}), check WATCHKEEPER_API_HOST and WATCHKEEPER_API_PORT"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket that names its protocol: without it asyncio leaves TCP_NODELAY off (40 ms an answer)."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
