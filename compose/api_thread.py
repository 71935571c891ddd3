"""The API in a thread of its own, for the process that runs everything."""

import threading
import time
from collections.abc import Callable
from typing import Final

import uvicorn

from compose.locks import ComposeError
from compose.nats_server import port_is_free
from schemas.settings import Settings, SettingsError

START_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 5.0


def check_api_port(settings: Settings) -> None:
    """Make sure that the API's port can be had, before anything is started.

    Raises:
        SettingsError: when it is in use.
    """
    host, port = settings.api_host, settings.api_port
    if port and not port_is_free(port, host):
        raise SettingsError(
            f"WATCHKEEPER_API_PORT: port {port} on {host} is in use. Choose another (--port or WATCHKEEPER_API_PORT)."
        )


class ApiThread:
    """A uvicorn server in a thread; on_end is called from the thread when it ends, for whatever reason."""

    def __init__(self, server: uvicorn.Server, on_end: Callable[[], None]) -> None:
        self._server = server
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def alive(self) -> bool:
        """True while it serves."""
        return self._thread.is_alive()

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Serve, and return once it takes connections.

        Raises:
            ComposeError: when it does not come up.
        """
        self._thread.start()
        deadline = time.monotonic() + timeout_s
        while not self._server.started:
            if not self.alive:
                raise ComposeError("the API did not start, see the log above")
            if time.monotonic() > deadline:
                raise ComposeError(f"the API did not start within {timeout_s:g} s")
            time.sleep(0.02)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End after the requests in hand, by force after timeout_s; True when it ended."""
        self._server.should_exit = True
        self._thread.join(timeout_s)
        if self.alive:
            self._server.force_exit = True
            self._thread.join(timeout_s)
        return not self.alive

    def _run(self) -> None:
        try:
            self._server.run()
        finally:
            self._on_end()
