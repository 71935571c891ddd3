"""The parts of the embedded system: started in order, watched, stopped in the reverse order."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog
from pydantic import SecretStr

from api.app import create_app
from api.serve import ApiServer, build_server
from compose.api_client import api_address
from compose.api_thread import ApiThread
from compose.flow_part import FlowPart, PartEndedError
from compose.launch import FlowName
from compose.locks import FileLock
from compose.nats_server import NatsServer
from compose.publisher import Produce, Publisher
from compose.running import LOCK, Running, leave, take_away
from flows.archive import retention_days
from operators.clickhouse import ClickHouseDsn, Reader
from operators.clickhouse import connector as clickhouse_connector
from operators.jetstream import NatsConfig, ensure_streams
from policy import PolicySet, load_policy
from schemas.settings import GIB, Settings

READY_S: Final = 10.0
NATS_WAIT_S: Final = 30.0
WATCH_S: Final = 0.5
USUAL_PORT: Final = 8080

log = structlog.get_logger()


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
class System:
    """The parts, each put on the stack as it starts, so that whatever has started is stopped."""

    settings: Settings
    stack: ExitStack
    wake: Wake
    nats: NatsServer | None = None
    api: ApiThread | None = None
    flows: list[FlowPart] = field(default_factory=list)
    stop_errors: list[Exception] = field(default_factory=list)

    def start(self, nats_port: int | None) -> None:
        """Start all parts but the publishers.

        Raises:
            SettingsError, PolicyError, ComposeError, NatsError, ClickHouseError: what is wrong.
        """
        policy = load_policy(self.settings.policy_dir)
        data = self.settings.data_dir.resolve()
        self.stack.enter_context(FileLock(data / LOCK, f"the data folder {data}"))
        server = self._api_server(data, policy)
        self.settings = self.embed(data, nats_port)
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
        self.stack.callback(take_away, data)
        leave(data, self._addresses(api.port))

    def publish(self, name: str, produce: Produce, period_s: float) -> None:
        """Publish in the background until the end."""
        publisher = Publisher(name, NatsConfig.of(self.settings), produce, period_s)
        publisher.start()
        self.stack.callback(publisher.stop)

    def watch(self) -> None:
        """Return when somebody asked to end.

        Raises:
            PartEndedError: when a part ended by itself, with the reason.
            RuntimeError: when a flow died of a bug.
        """
        while not self.wake.asked:
            self.wake.event.wait(WATCH_S)
            self.wake.event.clear()
            if not self.wake.asked:
                self._check_parts()

    def _addresses(self, api_port: int) -> Running:
        settings = self.settings
        flows = {str(flow.name): f"{settings.health_host}:{flow.health.port}" for flow in self.flows}
        return Running(api_address(settings.api_host, api_port), self.nats.url if self.nats else None, flows)

    def where_to_look(self) -> str:
        """What to open, where the data is, how other commands find it, and how to stop."""
        assert self.api is not None
        settings = self.settings
        base = api_address(settings.api_host, self.api.port, shown=True)
        addresses = self._addresses(self.api.port)
        metrics = [f"http://{address}/metrics ({name})" for name, address in addresses.flows.items()]
        elsewhere = self.api.port != USUAL_PORT
        lines = [
            "Watchkeeper is up.",
            f"  Console  {base}/",
            f"  API      {base}/api/v3",
            f"  NATS     {NatsConfig.of(settings).shown}",
            *(f"  Metrics  {url}" for url in metrics),
            f"  Data     {settings.data_dir}",
            *([f"Other commands find it with --api {addresses.api}"] if elsewhere else []),
            *([f"or WATCHKEEPER_API_PORT={self.api.port} in their environment."] if elsewhere else []),
            "Stop it with Ctrl-C.",
        ]
        return "\n".join(lines)

    def embed(self, data: Path, nats_port: int | None) -> Settings:
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
        flow = FlowPart(name, self.settings, self.wake.event.set)
        self.stack.callback(flow.health.stop)
        flow.start()
        self.stack.callback(self._stop_flow, flow)
        if drain:
            self.stack.callback(flow.drain)
        self.flows.append(flow)

    def _stop_flow(self, flow: FlowPart) -> None:
        """Stop a flow; what goes wrong then is kept, for other parts are still to be stopped."""
        error = flow.stop()
        if error is not None:
            log.error("stop_failed", flow=flow.name, error=str(error))
            self.stop_errors.append(error)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not all(flow.state.ready()[0] for flow in self.flows):
            if self.wake.asked:
                return
            self._check_parts()
            if time.monotonic() > deadline:
                late = [flow.name for flow in self.flows if not flow.state.ready()[0]]
                log.warning("not_ready_yet", flows=late, waited_s=READY_S)
                return
            time.sleep(0.05)

    def _check_parts(self) -> None:
        for flow in self.flows:
            flow.check()
        if self.nats is not None and (code := self.nats.returncode()) is not None:
            raise PartEndedError(
                f"nats-server ended by itself (exit code {code}), see {self.settings.data_dir / 'nats' / 'nats.log'}"
            )
        if self.api is not None and not self.api.alive:
            raise PartEndedError("the API ended by itself, see the log above")
