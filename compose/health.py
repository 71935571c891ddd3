"""What one process says about itself over HTTP: /metrics, /health/live and /health/ready."""

import errno
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from operators.observability import FlowMetrics
from schemas.settings import SettingsError

Phase = Literal["starting", "running", "stopping", "stopped", "failed"]

REQUEST_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


@dataclass
class FlowState:
    """Where a flow is in its life, and why it failed if it did.

    From its metrics it also says which streams it is connected to and how far behind it is.
    """

    flow: str
    metrics: FlowMetrics
    phase: Phase = "starting"
    error: str | None = None

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether the process is worth keeping, and what to say."""
        return self.phase != "failed", self._body()

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the flow runs and reads all its streams, and what to say."""
        connected = self.connected().values()
        return self.phase == "running" and bool(connected) and all(connected), self._body()

    def connected(self) -> dict[str, bool]:
        """Whether each stream is being read just now."""
        return {k: v == 1 for k, v in by_stream(self.metrics.nats_connected).items()}

    def lag(self) -> dict[str, int]:
        """How many messages of each stream have not entered the flow yet."""
        return {k: int(v) for k, v in by_stream(self.metrics.lag).items()}

    def _body(self) -> dict[str, Any]:
        connected, lag = self.connected(), self.lag()
        return {"flow": self.flow, "status": self.phase, "error": self.error, "connected": connected, "lag": lag}


def by_stream(gauge: Gauge) -> dict[str, float]:
    """A gauge's values by its label stream."""
    return {sample.labels["stream"]: sample.value for metric in gauge.collect() for sample in metric.samples}


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
