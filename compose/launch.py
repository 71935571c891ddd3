"""Runs one flow as one process: recovery, signals, metrics, and errors in one line."""

import importlib
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final, Literal, Protocol, cast

import structlog
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import run_main

from compose.errors import exit_code, report
from compose.health import FlowState, HealthServer
from compose.locks import ComposeError, FileLock
from operators.observability import FlowMetrics
from schemas.settings import Settings

FlowName = Literal["vessel", "archive"]

PARTITIONS: Final = 1

log = structlog.get_logger()


class RecoveryError(ComposeError):
    """The recovery store cannot be used; the message says what to do."""


class FlowFactory(Protocol):
    """What a module of flows/ offers as from_settings."""

    def __call__(self, settings: Settings, metrics: FlowMetrics, stop: threading.Event) -> Dataflow:
        """Wire the flow; when stop is set its sources end it cleanly."""


def flow_factory(name: FlowName) -> FlowFactory:
    """The from_settings of flows/<name>.py."""
    return cast(FlowFactory, importlib.import_module(f"flows.{name}").from_settings)


def prepare_recovery(folder: Path) -> RecoveryConfig:
    """The recovery configuration of a folder, whose store is made on first use (one partition).

    Raises:
        RecoveryError: when the folder holds something else than such a store.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder.with_name(f".{folder.name}.new")
        _remove_unfinished(fresh)
        fresh.mkdir()
        init_db_dir(fresh, PARTITIONS)
        # Renamed when complete: a crash half-way leaves no store that looks whole.
        fresh.rename(folder)
    found = sorted(path.name for path in folder.glob("part-*.sqlite3"))
    declared = _declared_partitions(folder / found[0]) if found else 0
    if len(found) != PARTITIONS or declared != PARTITIONS:
        raise RecoveryError(
            f"{folder}: expected a recovery store of {PARTITIONS} partition, found {len(found)} file(s) "
            f"of a store of {declared}. Restore the folder from a backup, or move it away to start from the beginning."
        )
    return RecoveryConfig(folder, timedelta(0))


def _remove_unfinished(folder: Path) -> None:
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _declared_partitions(path: Path) -> int:
    """How many partitions the store says it has."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        try:
            row = connection.execute("SELECT MAX(part_count) FROM parts").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RecoveryError(
            f"{path}: not a readable recovery store ({error}). "
            "Restore it from a backup, or move the folder away to start from the beginning."
        ) from error
    return int(row[0] or 0)


def prepare_process() -> None:
    """Settle what Bytewax reads from the environment of the process.

    Its own web server is never wanted (it binds all interfaces, with any value of the variable), and
    the Rust backtrace of a raised Python exception says nothing that the exception does not.
    """
    os.environ.pop("BYTEWAX_DATAFLOW_API_ENABLED", None)
    if "WATCHKEEPER_RUST_BACKTRACE" not in os.environ:
        os.environ["RUST_BACKTRACE"] = "0"


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call stop on the first SIGTERM or SIGINT; end the process with 1 on the second."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(1)
        seen.append(number)
        log.info("stopping", signal=signal.Signals(number).name, again="ends at once")
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


class FlowThread:
    """One flow in a thread of its own; several run beside each other in one process.

    error is what it died of, None while it runs or after a clean end. on_end is called from the
    thread when it ends, for whatever reason.
    """

    def __init__(
        self,
        name: str,
        flow: Dataflow,
        recovery_dir: Path,
        epoch: timedelta,
        stop: threading.Event,
        *,
        state: FlowState | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.state = state or FlowState(name)
        self._flow = flow
        self._epoch = epoch
        self._stop = stop
        self._on_end = on_end
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
            self._recovery = prepare_recovery(self._recovery_dir)
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
        self.state.phase = "running"
        try:
            run_main(self._flow, epoch_interval=self._epoch, recovery_config=self._recovery)
            self.state.phase = "stopped"
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise to; its owner reads error
            self.error = error
            self.state.phase, self.state.error = "failed", str(error)
        finally:
            self._lock.release()
            self._on_end()


def recovery_lock(folder: Path) -> FileLock:
    """The lock that keeps a recovery store to one process."""
    return FileLock(folder.with_name(f".{folder.name}.lock"), f"the recovery store {folder}")


def run_flow(name: FlowName, settings: Settings, factory: FlowFactory | None = None) -> int:
    """Run a flow in this process until SIGTERM, SIGINT or a failure; return the exit code.

    0 after a clean stop (everything taken in is processed and committed), 1 when infrastructure
    failed, 2 when a setting or the policy is wrong. One line says why. Must be called from the main
    thread. factory: for a flow that is not one of flows/.
    """
    prepare_process()
    stop = threading.Event()
    stop_on_signals(stop.set)
    try:
        _run_locked(name, settings, factory or flow_factory(name), stop)
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error is reported here
        report(error, flow=name, debug=settings.log_level == "debug")
        return exit_code(error)
    log.info("stopped", flow=name)
    return 0


def _run_locked(name: FlowName, settings: Settings, factory: FlowFactory, stop: threading.Event) -> None:
    folder = settings.recovery_dir(name)
    with recovery_lock(folder):
        recovery = prepare_recovery(folder)
        metrics, state = FlowMetrics(name), FlowState(name)
        setting = f"WATCHKEEPER_{name.upper()}_PORT"
        port: int = getattr(settings, f"{name}_port")
        server = HealthServer(settings.health_host, port, metrics.registry, state, setting)
        try:
            server.start()
            flow = factory(settings, metrics, stop)
            state.phase = "running"
            log.info("flow_started", flow=name, ship_id=settings.ship_id, recovery=str(folder))
            cli_main(flow, epoch_interval=timedelta(seconds=settings.epoch_s), recovery_config=recovery)
        finally:
            server.stop()
