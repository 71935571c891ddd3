"""Runs one flow as one process: recovery, signals, metrics, and errors in one line."""

import gc
import importlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, Literal, Protocol, cast

import structlog
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from bytewax.testing import run_main

from compose.earlier_run import traces_of
from compose.errors import exit_code, report
from compose.health import FlowState, HealthServer
from compose.recovery import Traces, check_recovery, explain, explained, no_traces, prepare_recovery, recovery_lock
from operators.jetstream import NatsError
from operators.observability import FlowMetrics
from schemas.settings import Settings

FlowName = Literal["vessel", "detect", "correlate", "archive"]

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SAME_WISH_S: Final = 1.0

log = structlog.get_logger()


class FlowFactory(Protocol):
    """What a module of flows/ offers as from_settings."""

    def __call__(self, settings: Settings, metrics: FlowMetrics, stop: threading.Event) -> Dataflow:
        """Wire the flow; when stop is set its sources end it cleanly."""


def flow_factory(name: FlowName, *, shares_chdb: bool = False) -> FlowFactory:
    """The from_settings of flows/<name>.py; shares_chdb: this process has the embedded database open."""
    factory = importlib.import_module(f"flows.{name}").from_settings
    return cast(FlowFactory, partial(factory, shares_chdb=True) if shares_chdb and name == "vessel" else factory)


YOUNG: Final = 200_000
"""New objects between two looks for garbage in cycles (Python's own 700 suits programs with small heaps)."""


def prepare_process() -> None:
    """Settle what Bytewax reads from the environment of the process, and how Python looks for garbage.

    Its own web server is never wanted (it binds all interfaces, with any value of the variable), and
    the Rust backtrace of a raised Python exception says nothing that the exception does not. A batch of
    thousands of events is no garbage, and hardly anything here is in cycles: it is looked for seldom,
    and never in what was loaded at the start.
    """
    gc.set_threshold(YOUNG, 10, 10)
    gc.collect()
    gc.freeze()
    os.environ.pop("BYTEWAX_DATAFLOW_API_ENABLED", None)
    if "WATCHKEEPER_RUST_BACKTRACE" not in os.environ:
        os.environ["RUST_BACKTRACE"] = "0"


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call stop on the first SIGTERM or SIGINT; end the process with 1 on the next after a second.

    The same wish often arrives twice at once: from make or timeout, and from their process group.
    stop is called from a thread of its own: a handler runs in the midst of whatever the main thread
    does, where taking a lock (of a log, of an event) could wait for itself for ever.
    """
    hear, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    for number in STOP_SIGNALS:
        signal.signal(number, _heard)
    threading.Thread(target=_listen, args=(hear, tell, stop), name="signals", daemon=True).start()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Nothing to do: the number went to the listening thread already."""


def _listen(hear: socket.socket, _tell: socket.socket, stop: Callable[[], None]) -> None:
    asked_at: float | None = None
    while data := hear.recv(1):
        if data[0] not in STOP_SIGNALS:
            continue
        if asked_at is not None:
            if time.monotonic() - asked_at > SAME_WISH_S:
                os._exit(1)
            continue
        asked_at = time.monotonic()
        log.info("stopping", signal=signal.Signals(data[0]).name, again="ends at once")
        stop()


class FlowThread:
    """One flow in a thread of its own; several run beside each other in one process.

    make wires the flow, in the thread (it may have to wait for NATS, until stop is set). error is
    what it died of, None while it runs or after a clean end. on_end is called from the thread when
    it ends, for whatever reason. traces says whether the flow has run before, where it has no
    recovery store.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Dataflow],
        recovery_dir: Path,
        epoch: timedelta,
        stop: threading.Event,
        *,
        state: FlowState,
        on_end: Callable[[], None] = lambda: None,
        traces: Traces = no_traces,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.state = state
        self._make = make
        self._epoch = epoch
        self._stop = stop
        self._on_end = on_end
        self._traces = traces
        self._lock = recovery_lock(recovery_dir)
        self._recovery_dir = recovery_dir
        self._thread = threading.Thread(target=self._run, name=f"flow-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the flow runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Take the recovery store and start.

        Raises:
            AlreadyRunningError: when another process runs this flow on the same store.
            RecoveryError: when the store cannot be used.
        """
        self._lock.acquire()
        try:
            check_recovery(self._recovery_dir)
        except BaseException:
            self._lock.release()
            raise
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask the flow to end and wait; True when it ended in time."""
        self.state.phase = "stopping" if self.alive else self.state.phase
        self._stop.set()
        self._thread.join(timeout_s)
        return not self.alive

    def _run(self) -> None:
        try:
            flow = make_flow(self._make, self._stop)
            if flow is not None:
                recovery = prepare_recovery(self._recovery_dir, self._traces)
                self.state.phase = "running"
                run_main(flow, epoch_interval=self._epoch, recovery_config=recovery)
            self.state.phase = "stopped"
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise to; its owner reads error
            self.error = explain(error, self._recovery_dir) or error
            if self.error is not error:
                self.error.__cause__ = error
            self.state.phase, self.state.error = "failed", str(self.error)
        finally:
            self._lock.release()
            self._on_end()


def make_flow(make: Callable[[], Dataflow], stop: threading.Event) -> Dataflow | None:
    """The flow; None when it was asked to end while it waited for NATS, so that nothing has begun."""
    try:
        return make()
    except NatsError:
        if stop.is_set():
            return None
        raise


def run_flow(name: FlowName, settings: Settings, factory: FlowFactory | None = None) -> int:
    """Run a flow in this process until SIGTERM, SIGINT or a failure; return the exit code.

    0 after a clean stop (everything taken in is processed and committed), 1 when infrastructure
    failed, 2 when a setting or the policy is wrong. One line says why. Must be called from the main
    thread. factory: for a flow that is not one of flows/.
    """
    prepare_process()
    stop = threading.Event()
    stop_on_signals(stop.set)
    traces = partial(traces_of, name, settings, stop)
    try:
        _run_locked(name, settings, factory or flow_factory(name), stop, no_traces if factory else traces)
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error is reported here
        report(error, flow=name, debug=settings.log_level == "debug")
        return exit_code(error)
    log.info("stopped", flow=name)
    return 0


def _run_locked(
    name: FlowName, settings: Settings, factory: FlowFactory, stop: threading.Event, traces: Traces
) -> None:
    folder = settings.recovery_dir(name)
    with recovery_lock(folder), explained(folder):
        check_recovery(folder)
        metrics = FlowMetrics(name)
        state = FlowState(name, metrics)
        setting = f"WATCHKEEPER_{name.upper()}_PORT"
        port: int = getattr(settings, f"{name}_port")
        server = HealthServer(settings.health_host, port, metrics.registry, state, setting)
        try:
            server.start()
            flow = make_flow(lambda: factory(settings, metrics, stop), stop)
            if flow is None:
                return
            recovery = prepare_recovery(folder, traces)
            state.phase = "running"
            log.info("flow_started", flow=name, ship_id=settings.ship_id, recovery=str(folder))
            epoch = timedelta(seconds=settings.epoch_s)
            cli_main(flow, epoch_interval=epoch, recovery_config=recovery)
        finally:
            server.stop()
