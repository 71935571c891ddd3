"""What one process says about itself over HTTP: /metrics, /health/live and /health/ready."""

import errno
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.settings import SettingsError

Phase = Literal["starting", "running", "stopping", "stopped", "failed"]

REQUEST_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


@dataclass
class FlowState:
    """Where a flow is in its life, and why it failed if it did."""

    flow: str
    phase: Phase = "starting"
    error: str | None = None
    detail: Callable[[], dict[str, Any]] = field(default=dict)

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether the process is worth keeping, and what to say."""
        return self.phase != "failed", self._body()

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the flow takes messages, and what to say."""
        return self.phase == "running", self._body()

    def _body(self) -> dict[str, Any]:
        return {"flow": self.flow, "status": self.phase, "error": self.error, **self.detail()}


class HealthServer:
    """A small threaded HTTP server for one flow's metrics and health.

    GET /metrics (Prometheus text), /health/live and /health/ready (JSON; 200, or 503 when not).
    Reads are lock-free snapshots; nothing here can slow the flow down.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, state: FlowState, setting: str) -> None:
        """Take the port; setting is the name of the setting to change when it is in use.

        Raises:
            SettingsError: when the port or the address cannot be had, naming the setting.
        """
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(registry, state))
        except (OSError, OverflowError) as error:
            raise SettingsError(_bind_error(host, port, setting, error)) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"health-{state.flow}", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on (the one given, or the one the system chose for 0)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer requests in the background."""
        self._thread.start()
        log.info("health_listening", url=f"http://{self._server.server_address[0]!s}:{self.port}/health/ready")

    def stop(self) -> None:
        """Stop answering and give the port back; harmless when it was not started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _bind_error(host: str, port: int, setting: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{setting}: port {port} on {host} is in use. Set {setting} to another port, or to 0 for a free one."
    return f"{setting}: cannot listen on {host}:{port}: {error}. Check {setting} and WATCHKEEPER_HEALTH_HOST."


def _handler(registry: CollectorRegistry, state: FlowState) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        server_version = "watchkeeper"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path == "/health/live":
                self._send_json(*state.live())
            elif path in ("/health", "/health/ready"):
                self._send_json(*state.ready())
            else:
                paths = ["/metrics", "/health/live", "/health/ready"]
                self._send(404, "application/json", json.dumps({"error": "not found", "try": paths}).encode())

        def _send_json(self, good: bool, body: dict[str, Any]) -> None:
            self._send(200 if good else 503, "application/json", json.dumps(body).encode())

        def _send(self, code: int, content_type: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug("health_request", request=format % args)

    return Handler
