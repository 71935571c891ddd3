"""The parts of a vessel as processes of their own, started, stopped and killed at will."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from operators.clickhouse import ClickHouseError, Reader
from tests.support.nats import Server, free_port, until
from tests.support.system import WATCHKEEPER

FLOWS = ("vessel", "detect", "correlate", "archive")
STOP_S = 40.0


class Parts:
    """nats-server, the flows and ClickHouse, each a process of its own.

    embedded: chDB is inside the archive flow, and dies with it; else it is a process of its own.
    environment goes before what is set here.
    """

    def __init__(self, folder: Path, *, embedded: bool = False, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.nats = Server(folder / "nats").start()
        self.clickhouse_port = free_port()
        self.ports = {flow: free_port() for flow in FLOWS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.embedded = embedded
        self._environment = dict(environment or {})

    @property
    def clickhouse_dsn(self) -> str:
        """Where ClickHouse answers when it is a process of its own."""
        return f"http://127.0.0.1:{self.clickhouse_port}/watchkeeper"

    def start(self, name: str, *words: str) -> None:
        """Start one process."""
        environment = {
            **os.environ,
            "NATS_URL": self.nats.url,
            "CLICKHOUSE_DSN": f"chdb://{self.folder}/clickhouse" if self.embedded else self.clickhouse_dsn,
            "WATCHKEEPER_DATA_DIR": str(self.folder),
            **{f"WATCHKEEPER_{flow.upper()}_PORT": str(port) for flow, port in self.ports.items()},
            **self._environment,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([str(WATCHKEEPER), *words], env=environment, stderr=log)

    def start_flow(self, name: str, *, wait: bool = True) -> None:
        """Start a flow; wait: until it lives."""
        self.start(name, "run", name)
        if wait:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until a flow reads its streams."""
        until(
            lambda: self.health(name).get("status") == "running", seconds=60, what=f"{name}:\n{self.log(name)[-3000:]}"
        )

    def start_clickhouse(self) -> None:
        """Start ClickHouse as a process of its own."""
        path = str(self.folder / "clickhouse")
        self.start("clickhouse", "clickhouse", "--path", path, "--port", str(self.clickhouse_port))

    def kill(self, name: str) -> None:
        """Kill -9."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def stop(self, name: str) -> None:
        """Let it end cleanly; it must."""
        process = self.processes[name]
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_S)
        assert code == 0, f"{name} ended with {code}:\n{self.log(name)[-3000:]}"

    def log(self, name: str) -> str:
        """What a process said."""
        return (self.folder / f"{name}.log").read_text()

    def health(self, name: str) -> dict[str, Any]:
        """What a flow says of itself; nothing while it does not answer. It must not have ended by itself."""
        code = self.processes[name].poll()
        assert code is None, f"{name} ended with {code}:\n{self.log(name)[-3000:]}"
        try:
            found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.ports[name]}/health/live", timeout=2).json()
        except (httpx.TransportError, json.JSONDecodeError):
            return {}
        return found

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows, or nothing while ClickHouse is away."""
        try:
            return Reader(self.clickhouse_dsn, "watchkeeper", max_rows=2_000_000).query(sql, {})
        except ClickHouseError:
            return []

    def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        self.nats.kill()


@contextmanager
def parts_in(folder: Path, *, embedded: bool = False, environment: Mapping[str, str] | None = None) -> Iterator[Parts]:
    """The parts below a folder; all ended afterwards."""
    parts = Parts(folder, embedded=embedded, environment=environment)
    try:
        yield parts
    finally:
        parts.close()
