import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose.nats_server import free_port

READY_S = 15.0
INCIDENT_S = 60.0
STOP_S = 45.0

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Up:
    """`watchkeeper up` as a process."""

    def __init__(self, data: Path, *options: str, port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.log = data.parent / f"up-{self.port}.log"
        command = [sys.executable, "watchkeeper.py", "up", "--data", str(data), "--port", str(self.port), *options]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHKEEPER_", "NATS_", "CLICKHOUSE_"))}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env)

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None
        except OSError:
            return 0, None

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while self.get("/health/ready")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not ready within {READY_S} s: {self.log.read_text()}"
            time.sleep(0.1)

    def wait_open_incident(self) -> dict[str, Any]:
        deadline = time.monotonic() + INCIDENT_S
        while True:
            _, body = self.get("/api/v3/incidents")
            found = [item for item in (body or {"items": []})["items"] if item["status"] == "open"]
            if found:
                return dict(found[0])
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"no incident within {INCIDENT_S} s: {self.log.read_text()}"
            time.sleep(0.25)

    def nats_pid(self) -> int:
        return int((self.data / "nats" / "nats.pid").read_text())

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextmanager
def up(data: Path, *options: str, port: int | None = None) -> Iterator[Up]:
    system = Up(data, *options, port=port)
    try:
        yield system
    finally:
        with suppress(ProcessLookupError):
            system.process.kill()
        system.process.wait()


def test_up_finds_the_first_faults_stops_cleanly_and_resumes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data, "--no-host-metrics") as first:
        first.wait_ready()
        incident = first.wait_open_incident()
        assert incident["incident_type"] in {"auth_attack", "network_issue"}
        child = first.nats_pid()
        with up(data) as second:
            assert second.process.wait(STOP_S) == 1
            assert f"in use by another process (pid {first.process.pid})" in second.log.read_text()
        assert psutil.pid_exists(child)
        assert first.terminate() == 0, first.log.read_text()
        assert not psutil.pid_exists(child)
        said = first.log.read_text()
        assert f"http://127.0.0.1:{first.port}" in said
        assert "nats://127.0.0.1:" in said
        assert "Traceback" not in said
    with up(data, "--no-demo") as again:
        again.wait_ready()
        _, body = again.get("/api/v3/incidents")
        kept = {item["incident_id"]: item["revision"] for item in body["items"]}
        assert kept[incident["incident_id"]] >= incident["revision"]
        assert again.terminate() == 0, again.log.read_text()


def test_a_dead_nats_server_ends_it_with_the_reason(tmp_path: Path) -> None:
    with up(tmp_path / "data", "--no-demo", "--no-host-metrics") as system:
        system.wait_ready()
        psutil.Process(system.nats_pid()).kill()
        assert system.process.wait(STOP_S) == 1
        assert "nats-server ended by itself" in system.log.read_text()


def test_taken_api_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with up(tmp_path / "one", "--no-demo", "--no-host-metrics") as first:
        first.wait_ready()
        with up(tmp_path / "two", port=first.port) as second:
            assert second.process.wait(STOP_S) == 2
            assert f"WATCHKEEPER_API_PORT: port {first.port} on 127.0.0.1 is in use" in second.log.read_text()
            assert not (tmp_path / "two" / "nats").exists()
