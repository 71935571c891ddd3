"""One connection to NATS: how it is configured, opened, asked, and what its failures mean."""

import asyncio
import importlib.util
import json
import math
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from nats.aio.client import Client
from nats.errors import Error as ClientError
from nats.errors import NoRespondersError

from schemas.settings import Settings

API_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 0.2
BACKOFF_LAST_S = 5.0
SCHEMES = ("nats", "tls", "ws", "wss")

_AUTH_WORDS = ("authorization violation", "authentication", "authorization failed", "user credentials")

log = structlog.get_logger()


class NatsError(RuntimeError):
    """NATS is broken or misconfigured; the message says what, where and what to do."""


class NatsAwayError(ConnectionError):
    """NATS cannot be reached or does not answer just now; trying again may help."""


class JetStreamRefusedError(RuntimeError):
    """JetStream answered a request with an error.

    code is the HTTP-like status, err_code JetStream's own number.
    """

    def __init__(self, request: str, error: dict[str, Any]) -> None:
        self.code = int(error.get("code", 0))
        self.err_code = int(error.get("err_code", 0))
        self.description = str(error.get("description", "unknown error"))
        super().__init__(f"{request}: {self.description} (code {self.code}, err_code {self.err_code})")


@dataclass(frozen=True)
class NatsConfig:
    """Where NATS is and who we are there.

    url may be a comma-separated list of servers of one cluster. credentials is a .creds file.

    Raises:
        NatsError: for an address, a pair of user and password or a file that cannot be right.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: Path | None = None

    def __post_init__(self) -> None:
        for server in self.servers:
            _check_url(server)
        if (self.user is None) != (self.password is None):
            raise NatsError(
                "NATS needs user and password together: set WATCHKEEPER_NATS_USER and WATCHKEEPER_NATS_PASSWORD, "
                "or neither"
            )
        if self.credentials is not None:
            _check_credentials(self.credentials)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The part of the settings that says how NATS is reached."""
        password = settings.nats_password
        return cls(
            url=settings.nats_url,
            user=settings.nats_user,
            password=None if password is None else password.get_secret_value(),
            credentials=settings.nats_credentials,
        )

    @property
    def servers(self) -> list[str]:
        """The servers' addresses, one by one."""
        return [server.strip() for server in self.url.split(",")]

    @property
    def shown(self) -> str:
        """The address without any secret in it, for messages."""
        return ",".join(_without_secret(server) for server in self.servers)


def _check_url(server: str) -> None:
    try:
        parts = urlsplit(server)
        good = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        shown = _without_secret(server) if "@" in server else server
        raise NatsError(f"NATS_URL is {shown!r}, expected for example nats://127.0.0.1:4222")


def _check_credentials(path: Path) -> None:
    if not path.is_file():
        raise NatsError(f"NATS credentials file {path} does not exist: correct WATCHKEEPER_NATS_CREDENTIALS")
    if importlib.util.find_spec("nkeys") is None:
        raise NatsError(f"NATS credentials file {path} needs the package nkeys: pip install 'nats-py[nkeys]'")


def _without_secret(server: str) -> str:
    head, at, tail = server.rpartition("@")
    return f"{head.split('//')[0]}//***@{tail}" if at else server


class Link:
    """One open connection. It never reconnects by itself: closed is set once it is gone.

    A new link is made for each try, so nothing that an old connection had buffered can arrive late.
    """

    def __init__(self, config: NatsConfig, name: str) -> None:
        self.config = config
        self.name = name
        self.client = Client()
        self.closed = asyncio.Event()
        self.last_problem: str | None = None

    async def _on_error(self, error: Exception) -> None:
        self.last_problem = str(error) or type(error).__name__
        log.debug("nats client", connection=self.name, problem=self.last_problem)

    async def _on_closed(self) -> None:
        self.closed.set()

    async def open(self) -> None:
        """Connect.

        Raises:
            NatsAwayError: when the server cannot be reached.
            NatsError: when it refuses us.
        """
        config = self.config
        try:
            await asyncio.wait_for(
                self.client.connect(
                    servers=config.servers,
                    name=self.name,
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=2,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    pending_size=8 * 1024 * 1024,
                    user=config.user,
                    password=config.password,
                    user_credentials=config.credentials,
                    skip_subject_validation=True,
                ),
                timeout=10.0,
            )
        except (OSError, ClientError, TimeoutError) as error:
            await self.close()
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Exception:
        cause = self.last_problem or str(error) or type(error).__name__
        texts = f"{cause} {error}".lower()
        if any(word in texts for word in _AUTH_WORDS):
            return NatsError(
                f"NATS at {self.config.shown} refused us ({cause}): correct WATCHKEEPER_NATS_USER and "
                "WATCHKEEPER_NATS_PASSWORD, or WATCHKEEPER_NATS_CREDENTIALS"
            )
        return NatsAwayError(
            f"NATS at {self.config.shown} cannot be reached ({cause}): start nats-server or correct NATS_URL"
        )

    async def api(self, request: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API, for example STREAM.INFO.TELEMETRY, and return its answer.

        Raises:
            JetStreamRefusedError: when the answer is an error.
            NatsAwayError: when no answer comes.
        """
        data = b"" if body is None else json.dumps(body).encode()
        ask = asyncio.ensure_future(self.client.request(f"$JS.API.{request}", data, timeout=API_TIMEOUT_S))
        gone = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait((ask, gone), return_when=asyncio.FIRST_COMPLETED)
            if not ask.done():
                raise NatsAwayError(f"NATS at {self.config.shown} closed the connection during {request}")
            answer = json.loads(ask.result().data)
        except NoRespondersError as error:
            raise NatsAwayError(
                f"JetStream at {self.config.shown} does not answer {request}: start nats-server with JetStream (-js)"
            ) from error
        except (ClientError, TimeoutError) as error:
            raise NatsAwayError(f"NATS at {self.config.shown} did not answer {request} ({error})") from error
        finally:
            for task in (ask, gone):
                task.cancel()
        if "error" in answer:
            raise JetStreamRefusedError(request, answer["error"])
        return dict(answer)

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as we know."""
        return self.client.is_connected and not self.closed.is_set()

    async def close(self) -> None:
        """Close the connection; harmless when it is gone already."""
        try:
            await self.client.close()
        except (OSError, ClientError, TimeoutError) as error:
            log.debug("nats close", connection=self.name, problem=str(error))


async def open_link(config: NatsConfig, name: str) -> Link:
    """Open one connection; raises as Link.open does."""
    link = Link(config, name)
    await link.open()
    return link


class Backoff:
    """Waits between tries: 0.2 s, doubling up to 5 s, with up to 10 % taken off at random."""

    def __init__(self, first_s: float = BACKOFF_FIRST_S, last_s: float = BACKOFF_LAST_S) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._next_s = first_s

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """How long to wait now."""
        wait_s = self._next_s
        self._next_s = min(self._last_s, wait_s * 2)
        return wait_s * (1.0 - random.random() * 0.1)


async def sleep_unless(stop: threading.Event | None, seconds: float) -> None:
    """Sleep, but wake within 0.1 s once stop is set."""
    steps = math.ceil(seconds / 0.1)
    for _ in range(steps):
        if stop is not None and stop.is_set():
            return
        await asyncio.sleep(seconds / steps)


async def wait_event(event: asyncio.Event, seconds: float) -> None:
    """Wait for event, for so long at most."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
