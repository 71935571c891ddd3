"""One flow of the embedded system: its thread, its health server, its end."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final, Self

import structlog

from compose.earlier_run import traces_of
from compose.errors import known_cause
from compose.health import FlowState, HealthServer
from compose.launch import FlowName, FlowThread, flow_factory
from compose.locks import ComposeError
from compose.nats_server import port_is_free
from operators.observability import FlowMetrics
from schemas.settings import Settings

DRAIN_S: Final = 10.0
STILL_S: Final = 0.5
FLOW_STOP_S: Final = 15.0

log = structlog.get_logger()


class PartEndedError(ComposeError):
    """A part of the system ended by itself; the message says which and why."""


class FlowPart:
    """A flow that runs beside others in this process, with its own metrics, health and recovery store."""

    def __init__(self, name: FlowName, settings: Settings, on_end: Callable[[], None]) -> None:
        """Prepare the flow and take its health port; on_end is called when the flow ends.

        Raises:
            SettingsError: when the health port cannot be had.
        """
        stop = threading.Event()
        factory = flow_factory(name, shares_chdb=True)
        metrics = FlowMetrics(name)
        self.name = name
        self.state = FlowState(name, metrics)
        self.health = _health_server(name, settings, metrics, self.state)
        self.thread = FlowThread(
            name,
            lambda: factory(settings, metrics, stop),
            settings.recovery_dir(name),
            timedelta(seconds=settings.epoch_s),
            stop,
            state=self.state,
            on_end=on_end,
            traces=partial(traces_of, name, settings, stop),
        )

    def start(self) -> Self:
        """Start the flow; raises as FlowThread.start does."""
        self.health.start()
        self.thread.start()
        return self

    def check(self) -> None:
        """Do nothing while the flow is well.

        Raises:
            PartEndedError: when it ended by itself, with the reason.
            RuntimeError: when it died of a bug.
        """
        if self.thread.error is not None:
            raise self._ended(self.thread.error) from self.thread.error
        if not self.thread.alive:
            raise PartEndedError(f"the {self.name} flow ended without being asked to")

    def drain(self, timeout_s: float = DRAIN_S) -> bool:
        """Wait until it has taken in everything its streams hold; True when it did in time.

        Lag is known when a message arrives, so it must stay zero for half a second.
        """
        deadline = time.monotonic() + timeout_s
        still_since: float | None = None
        while self.thread.alive and (now := time.monotonic()) < deadline:
            if any(self.state.lag().values()):
                still_since = None
            elif still_since is None:
                still_since = now
            elif now - still_since >= STILL_S:
                return True
            time.sleep(0.05)
        log.warning("not_drained", flow=self.name, lag=self.state.lag(), then="the next start goes on from here")
        return False

    def stop(self) -> Exception | None:
        """Stop the flow; what went wrong then, else None."""
        was_alive = self.thread.alive
        error: Exception | None = None
        if not self.thread.stop(FLOW_STOP_S):
            error = PartEndedError(
                f"the {self.name} flow did not stop within {FLOW_STOP_S:g} s; the next start resumes it"
            )
        elif was_alive and self.thread.error is not None:
            error = self._ended(self.thread.error)
            error.__cause__ = self.thread.error
        self.health.stop()
        return error

    def _ended(self, error: BaseException) -> Exception:
        """What to raise for a flow that died: with the cause's own words, or as the bug it is."""
        cause = known_cause(error)
        if cause is None:
            return RuntimeError(f"the {self.name} flow ended: {error}")
        return PartEndedError(f"the {self.name} flow ended: {cause}")


def _health_server(name: FlowName, settings: Settings, metrics: FlowMetrics, state: FlowState) -> HealthServer:
    """On any free port when the default one is taken; a port that was chosen must be had."""
    port: int = getattr(settings, f"{name}_port")
    setting = f"WATCHKEEPER_{name.upper()}_PORT"
    chosen = f"{name}_port" in settings.model_fields_set
    if not chosen and not port_is_free(port, settings.health_host):
        log.warning("port_taken", flow=name, port=port, instead="a free one", setting=setting)
        port = 0
    return HealthServer(settings.health_host, port, metrics.registry, state, setting)
