"""The whole system in one process: `watchkeeper up`.

    nats-server (child) ─ vessel ─ archive ─ chDB ─ API        each a thread but the first
          ▲ host metrics, simulated ship

Started in this order and stopped in the reverse one, so that nothing is asked for what is gone: the
publishers first, then the vessel flow, then the archive once it has stored what was published.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog
import typer
from pydantic import SecretStr

from api.app import create_app
from api.serve import ApiServer, build_server
from compose.api_thread import ApiThread
from compose.demo.live import LiveShip
from compose.demo.ship import DemoShip
from compose.errors import exit_code, known_cause, report
from compose.health import FlowState, HealthServer
from compose.host_metrics import PERIOD_S, HostMetrics
from compose.launch import FlowName, FlowThread, flow_factory, prepare_process, stop_on_signals
from compose.locks import ComposeError, FileLock
from compose.nats_server import NatsServer, port_is_free
from compose.publisher import Produce, Publisher
from flows.archive import retention_days
from operators.clickhouse import ClickHouseDsn, Reader
from operators.clickhouse import connector as clickhouse_connector
from operators.jetstream import NatsConfig, NatsError, ensure_streams
from operators.observability import FlowMetrics
from policy import PolicySet, load_policy
from schemas.settings import GIB, Settings

DRAIN_S: Final = 10.0
FLOW_STOP_S: Final = 15.0
READY_S: Final = 10.0
DEMO_PERIOD_S: Final = 1.0
NATS_WAIT_S: Final = 30.0
WATCH_S: Final = 0.5

log = structlog.get_logger()


class PartEndedError(ComposeError):
    """A part of the system ended by itself; the message says which and why."""


def up(
    settings: Settings,
    *,
    demo: bool = True,
    host_metrics: bool = True,
    nats_port: int | None = None,
    say: Callable[[str], None] = typer.echo,
) -> int:
    """Run everything until SIGTERM, SIGINT or the death of a part; return the exit code.

    0 after a clean stop, 1 when a part failed, 2 when a setting or the policy is wrong; one line
    says why. NATS_URL and CLICKHOUSE_DSN, when set, are used instead of the embedded ones. Must be
    called from the main thread.
    """
    prepare_process()
    wake = Wake()
    stop_on_signals(wake.ask_to_end)
    try:
        with ExitStack() as stack:
            system = System(settings, stack, wake)
            system.start(nats_port)
            for produce, name, period_s in _publishers(settings, demo=demo, host_metrics=host_metrics):
                system.publish(name, produce, period_s)
            say(system.where_to_look())
            system.watch()
        if system.stop_errors:
            raise system.stop_errors[0]
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error is reported here
        if isinstance(error, NatsError) and wake.asked:
            return 0  # asked to end while it waited for NATS
        report(error, flow="up", debug=settings.log_level == "debug")
        return exit_code(error)
    log.info("stopped", flow="up")
    return 0


def _publishers(settings: Settings, *, demo: bool, host_metrics: bool) -> list[tuple[Produce, str, float]]:
    found: list[tuple[Produce, str, float]] = []
    if host_metrics:
        found.append((HostMetrics(settings.ship_id).produce, "host-metrics", PERIOD_S))
    if demo:
        found.append((LiveShip(DemoShip(ship_id=settings.ship_id)).produce, "demo", DEMO_PERIOD_S))
    return found


class Wake:
    """Wakes the main thread: somebody asked to end, or a part ended."""

    def __init__(self) -> None:
        self.asked = False
        self.event = threading.Event()

    def ask_to_end(self) -> None:
        """Somebody wants the end."""
        self.asked = True
        self.event.set()


@dataclass
class Flow:
    """One flow with what it says about itself."""

    thread: FlowThread
    state: FlowState
    health: HealthServer


@dataclass
class System:
    """The parts, each put on the stack as it starts, so that whatever has started is stopped."""

    settings: Settings
    stack: ExitStack
    wake: Wake
    nats: NatsServer | None = None
    api: ApiThread | None = None
    flows: list[Flow] = field(default_factory=list)
    stop_errors: list[Exception] = field(default_factory=list)

    def start(self, nats_port: int | None) -> None:
        """Start all parts but the publishers.

        Raises:
            SettingsError, PolicyError, ComposeError, NatsError, ClickHouseError: what is wrong.
        """
        policy = load_policy(self.settings.policy_dir)
        data = self.settings.data_dir.resolve()
        self.stack.enter_context(FileLock(data / ".lock", f"the data folder {data}"))
        server = self._api_server(data, policy)
        self.settings = self._embed(data, nats_port)
        ensure_streams(
            NatsConfig.of(self.settings), self.settings.stream_table(), wait_s=NATS_WAIT_S, stop=self.wake.event
        )
        self._prepare_clickhouse(policy)
        api = ApiThread(server, self.wake.event.set)
        self.stack.callback(api.stop)
        self._start_flow("archive", drain=True)
        self._start_flow("vessel", drain=False)
        self._wait_ready()
        # Last, so that its /health/ready speaks for all; stopped after the flows.
        api.start()
        self.api = api

    def publish(self, name: str, produce: Produce, period_s: float) -> None:
        """Publish in the background until the end."""
        publisher = Publisher(name, NatsConfig.of(self.settings), produce, period_s)
        publisher.start()
        self.stack.callback(publisher.stop)

    def watch(self) -> None:
        """Return when somebody asked to end.

        Raises:
            PartEndedError: when a part ended by itself.
            Exception: what a flow died of.
        """
        while not self.wake.asked:
            self.wake.event.wait(WATCH_S)
            self.wake.event.clear()
            if not self.wake.asked:
                self._check_parts()

    def where_to_look(self) -> str:
        """What to open, where the data is and how to stop."""
        assert self.api is not None
        settings = self.settings
        host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
        base = f"http://{host}:{self.api.port}"
        metrics = [
            f"http://{settings.health_host}:{flow.health.port}/metrics ({flow.state.flow})" for flow in self.flows
        ]
        lines = [
            "Watchkeeper is up.",
            f"  Console  {base}/",
            f"  API      {base}/api/v3",
            f"  NATS     {NatsConfig.of(settings).shown}",
            *(f"  Metrics  {url}" for url in metrics),
            f"  Data     {settings.data_dir}",
            "Stop it with Ctrl-C.",
        ]
        return "\n".join(lines)

    def _embed(self, data: Path, nats_port: int | None) -> Settings:
        """The settings with the addresses of the embedded servers; starts nats-server."""
        given = self.settings.model_fields_set
        changes: dict[str, object] = {"data_dir": data}
        if "nats_url" not in given:
            self.nats = self._nats(data, nats_port)
            self.stack.callback(self.nats.stop)
            changes["nats_url"] = self.nats.start()
        changes["clickhouse_dsn"] = self._dsn(data)
        return self.settings.model_copy(update=changes)

    def _dsn(self, data: Path) -> SecretStr:
        if "clickhouse_dsn" in self.settings.model_fields_set:
            return self.settings.clickhouse_dsn
        return SecretStr(f"chdb://{quote(str(data / 'clickhouse'))}")

    def _nats(self, data: Path, nats_port: int | None) -> NatsServer:
        settings = self.settings
        reserved = sum(stream.max_bytes for stream in settings.stream_table().values())
        password = settings.nats_password.get_secret_value() if settings.nats_password else None
        return NatsServer(data, nats_port, store_bytes=reserved + GIB, user=settings.nats_user, password=password)

    def _api_server(self, data: Path, policy: PolicySet) -> ApiServer:
        """The API with its port taken, before anything else is started."""
        settings = self.settings
        reader = Reader(self._dsn(data).get_secret_value(), settings.clickhouse_database)
        self.stack.callback(reader.close)
        app = create_app(reader, settings=settings, policy=policy)
        return build_server(app, settings.api_host, settings.api_port, signals=False)

    def _prepare_clickhouse(self, policy: PolicySet) -> None:
        """Make the embedded database before the API says that it is ready; a server is the archive's business."""
        dsn = self.settings.clickhouse_dsn.get_secret_value()
        if ClickHouseDsn.parse(dsn).embedded:
            clickhouse_connector(
                dsn, self.settings.clickhouse_database, retention_days(policy, self.settings.ship_id)
            )().close()

    def _start_flow(self, name: FlowName, *, drain: bool) -> None:
        settings = self.settings
        stop = threading.Event()
        metrics = FlowMetrics(name)
        state = FlowState(name, metrics)
        health = self._health(name, metrics, state)
        self.stack.callback(health.stop)
        health.start()
        factory = flow_factory(name)
        thread = FlowThread(
            name,
            lambda: factory(settings, metrics, stop),
            settings.recovery_dir(name),
            timedelta(seconds=settings.epoch_s),
            stop,
            state=state,
            on_end=self.wake.event.set,
        )
        thread.start()
        self.stack.callback(self._stop_flow, thread)
        if drain:
            self.stack.callback(drain_flow, thread, state)
        self.flows.append(Flow(thread, state, health))

    def _stop_flow(self, thread: FlowThread) -> None:
        """Stop a flow; what goes wrong then is kept, for other parts are still to be stopped."""
        was_alive = thread.alive
        error: Exception | None = None
        if not thread.stop(FLOW_STOP_S):
            error = PartEndedError(
                f"the {thread.name} flow did not stop within {FLOW_STOP_S:g} s; the next start resumes it"
            )
        elif was_alive and thread.error is not None:
            error = _ended(thread.name, thread.error)
            error.__cause__ = thread.error
        if error is not None:
            log.error("stop_failed", flow=thread.name, error=str(error))
            self.stop_errors.append(error)

    def _health(self, name: FlowName, metrics: FlowMetrics, state: FlowState) -> HealthServer:
        """The flow's health server; on any free port when the default one is taken (a chosen one must be had)."""
        settings = self.settings
        port: int = getattr(settings, f"{name}_port")
        setting = f"WATCHKEEPER_{name.upper()}_PORT"
        chosen = f"{name}_port" in settings.model_fields_set
        if not chosen and not port_is_free(port, settings.health_host):
            log.warning(
                "port_taken", flow=name, port=port, instead="a free one", setting=f"WATCHKEEPER_{name.upper()}_PORT"
            )
            port = 0
        return HealthServer(settings.health_host, port, metrics.registry, state, setting)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not all(flow.state.ready()[0] for flow in self.flows):
            if self.wake.asked:
                return
            self._check_parts()
            if time.monotonic() > deadline:
                late = [flow.state.flow for flow in self.flows if not flow.state.ready()[0]]
                log.warning("not_ready_yet", flows=late, waited_s=READY_S)
                return
            time.sleep(0.05)

    def _check_parts(self) -> None:
        for flow in self.flows:
            if flow.thread.error is not None:
                raise _ended(flow.state.flow, flow.thread.error) from flow.thread.error
            if not flow.thread.alive:
                raise PartEndedError(f"the {flow.state.flow} flow ended without being asked to")
        if self.nats is not None and (code := self.nats.returncode()) is not None:
            raise PartEndedError(
                f"nats-server ended by itself (exit code {code}), see {self.settings.data_dir / 'nats' / 'nats.log'}"
            )
        if self.api is not None and not self.api.alive:
            raise PartEndedError("the API ended by itself, see the log above")


def drain_flow(thread: FlowThread, state: FlowState, timeout_s: float = DRAIN_S) -> bool:
    """Wait until a flow has taken in everything its streams hold; True when it did in time.

    Lag is known when a message arrives, so it must stay zero for half a second.
    """
    deadline = time.monotonic() + timeout_s
    still_since: float | None = None
    while thread.alive and (now := time.monotonic()) < deadline:
        if any(state.lag().values()):
            still_since = None
        elif still_since is None:
            still_since = now
        elif now - still_since >= 0.5:
            return True
        time.sleep(0.05)
    log.warning("not_drained", flow=state.flow, lag=state.lag(), then="the next start goes on from here")
    return False


def _ended(name: str, error: BaseException) -> Exception:
    """What to raise for a flow that died: with the cause's own words, or as the bug it is."""
    cause = known_cause(error)
    if cause is None:
        return RuntimeError(f"the {name} flow ended: {error}")
    return PartEndedError(f"the {name} flow ended: {cause}")
