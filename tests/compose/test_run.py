"""The real flows as processes of their own, by `watchkeeper run`."""

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
from typing import IO, Any

import pytest

from compose.nats_server import NatsServer, free_port

DEADLINE_S = 30.0

pytestmark = pytest.mark.e2e


@contextmanager
def running(flow: str, data: Path, nats_url: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    said = data / "flow.log"
    with said.open("wb") as out:
        process = start(flow, data, nats_url, port, out)
    try:
        yield process, said
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def start(flow: str, data: Path, nats_url: str, port: int, out: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "watchkeeper.py", "run", flow],
        env={
            **os.environ,
            "WATCHKEEPER_DATA_DIR": str(data),
            f"WATCHKEEPER_{flow.upper()}_PORT": str(port),
            "NATS_URL": nats_url,
            "CLICKHOUSE_DSN": f"chdb://{data}/clickhouse",
        },
        stderr=out,
    )


def ready(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def wait_for(port: int, code: int, process: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while (got := ready(port))[0] != code:
        assert process.poll() is None, f"it ended with {process.poll()}: {said.read_text()}"
        assert time.monotonic() < deadline, f"expected {code}, got {got}: {said.read_text()}"
        time.sleep(0.05)
    return got[1]


@pytest.mark.parametrize(("flow", "streams"), [("vessel", 1), ("archive", 6), ("detect", 1), ("correlate", 1)])
def test_flow_gets_ready_and_ends_cleanly(flow: str, streams: int, tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_port())
    port = free_port()
    server.start()
    try:
        with running(flow, tmp_path, server.url, port) as (process, said):
            assert len(wait_for(port, 200, process, said)["connected"]) == streams
            server.stop()
            assert wait_for(port, 503, process, said)["status"] == "running"
            server.start()
            wait_for(port, 200, process, said)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0, said.read_text()
            assert "Traceback" not in said.read_text()
    finally:
        server.stop()


def test_flow_that_waits_for_nats_ends_cleanly_when_asked(tmp_path: Path) -> None:
    port = free_port()
    with running("vessel", tmp_path, f"nats://127.0.0.1:{free_port()}", port) as (process, said):
        assert wait_for(port, 503, process, said)["status"] == "starting"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, said.read_text()
        assert "cannot be reached" in said.read_text()


def test_wrong_setting_is_one_line_and_2(tmp_path: Path) -> None:
    with running("vessel", tmp_path, "nats://127.0.0.1:1", 70_000) as (process, said):
        assert process.wait(DEADLINE_S) == 2
        assert "vessel_port" in said.read_text()
        assert "Traceback" not in said.read_text()
