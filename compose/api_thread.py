"""The API in a thread of its own, for the process that runs everything."""

import threading
import time
from collections.abc import Callable
from typing import Final

from api.serve import ApiServer
from compose.locks import ComposeError

START_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 5.0


class ApiThread:
    """An API server in a thread; on_end is called from the thread when it ends, for whatever reason."""

    def __init__(self, server: ApiServer, on_end: Callable[[], None]) -> None:
        self._server = server
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def alive(self) -> bool:
        """True while it serves."""
        return self._thread.is_alive()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

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
        """End after the requests in hand, by force after timeout_s; True when it ended or never began."""
        if self._thread.ident is None:
            return True
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
