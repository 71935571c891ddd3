import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir

from compose.errors import exit_code, known_cause
from compose.health import FlowState
from compose.launch import FlowThread
from compose.locks import AlreadyRunningError, FileLock
from compose.nats_server import free_port
from compose.recovery import RecoveryError, prepare_recovery
from operators.observability import FlowMetrics
from schemas.settings import Settings, SettingsError
from tests.compose.tiny_flow import tiny

DEADLINE_S = 15.0


@contextmanager
def running(mode: str, data: Path, port: int | None = None, **env: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.compose.tiny_flow", mode],
        env={
            **os.environ,
            "WATCHKEEPER_DATA_DIR": str(data),
            "WATCHKEEPER_VESSEL_PORT": str(port),
            "WATCHKEEPER_EPOCH_S": "0.1",
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_ready(port: int) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        code, body = get(f"http://127.0.0.1:{port}/health/ready")
        if code == 200:
            return dict(json.loads(body))
        time.sleep(0.05)
    raise AssertionError("never ready")


def wait_counted(port: int) -> None:
    """Until the flow has taken something in."""
    deadline = time.monotonic() + DEADLINE_S
    while not re.search(r'messages_in_total{stream="only"} [1-9]', get(f"http://127.0.0.1:{port}/metrics")[1]):
        assert time.monotonic() < deadline, "it counts nothing"
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_cleanly_and_next_start_resumes(tmp_path: Path, number: signal.Signals) -> None:
    with running("count", tmp_path) as (process, port):
        assert wait_ready(port)["status"] == "running"
        wait_counted(port)
        process.send_signal(number)
        code, out, err = finish(process)
    assert code == 0, err
    assert out.startswith("resumed 0")
    with running("count", tmp_path) as (process, port):
        wait_counted(port)
        process.send_signal(number)
        code, out, err = finish(process)
    assert code == 0, err
    assert int(out.split()[1]) > 0


def test_a_second_wish_ends_at_once_but_the_same_wish_heard_twice_does_not(tmp_path: Path) -> None:
    with running("stuck", tmp_path) as (process, port):
        wait_ready(port)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "stopping" not in (line := process.stderr.readline()):
            assert line, "it ended without a word"
        heard = time.monotonic()
        while process.poll() is None and time.monotonic() - heard < DEADLINE_S:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        code, _, _ = finish(process)
    assert code == 1
    assert time.monotonic() - heard > 0.9


def test_metrics_and_health_are_served(tmp_path: Path) -> None:
    with running("count", tmp_path, BYTEWAX_DATAFLOW_API_ENABLED="0") as (_, port):
        wait_ready(port)
        base = f"http://127.0.0.1:{port}"
        code, text = get(f"{base}/metrics")
        assert code == 200
        assert "watchkeeper_messages_in_total" in text
        assert get(f"{base}/health/live")[0] == 200
        assert get(f"{base}/nothing")[0] == 404
        # Bytewax's own server would listen on 3030, on all interfaces.
        assert get("http://127.0.0.1:3030/dataflow")[0] == 0


def test_port_clash_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("count", tmp_path, port) as (process, _):
            code, _, err = finish(process)
    assert code == 2
    assert f"WATCHKEEPER_VESSEL_PORT: port {port} on 127.0.0.1 is in use" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_second_process_on_the_same_store_is_refused(tmp_path: Path) -> None:
    with running("count", tmp_path) as (first, port):
        wait_ready(port)
        with running("count", tmp_path) as (second, _):
            code, _, err = finish(second)
        assert code == 1
        assert f"in use by another process (pid {first.pid})" in err
        first.send_signal(signal.SIGTERM)
        assert finish(first)[0] == 0


@pytest.mark.parametrize(
    ("mode", "code", "says"),
    [
        ("nats_error", 1, "NATS at nats://nowhere is gone: start it"),
        ("policy_error", 2, "detect.yaml:14: detect.tresholds"),
    ],
)
def test_infrastructure_errors_are_one_line(tmp_path: Path, mode: str, code: int, says: str) -> None:
    with running(mode, tmp_path) as (process, _):
        got, _, err = finish(process)
    assert got == code
    ours = [line for line in err.splitlines() if line.startswith("{")]
    assert says in ours[-1]
    assert "Traceback" not in err
    assert "exception" not in json.loads(ours[-1])
    assert "stack backtrace" not in err


def test_debug_level_adds_the_stack_trace(tmp_path: Path) -> None:
    with running("nats_error", tmp_path, WATCHKEEPER_LOG_LEVEL="debug") as (process, _):
        _, _, err = finish(process)
    assert re.search(r'"exception":', err)


def test_a_bug_shows_its_stack_trace(tmp_path: Path) -> None:
    with running("bug", tmp_path) as (process, _):
        code, _, err = finish(process)
    assert code == 1
    assert "next_batch" in err
    assert "a bug" in err


def test_recovery_store_is_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "recovery" / "vessel"
    prepare_recovery(folder)
    before = (folder / "part-0.sqlite3").stat().st_ino
    prepare_recovery(folder)
    assert (folder / "part-0.sqlite3").stat().st_ino == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".vessel.made", "vessel"]


def test_store_left_half_made_is_made_again(tmp_path: Path) -> None:
    unfinished = tmp_path / ".vessel.new"
    unfinished.mkdir()
    (unfinished / "part-0.sqlite3").write_text("half")
    prepare_recovery(tmp_path / "vessel")
    assert not unfinished.exists()


def test_wrong_number_of_partitions_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vessel"
    folder.mkdir()
    init_db_dir(folder, 3)
    with pytest.raises(
        RecoveryError, match=r"expected a recovery store of 1 partition, found 3 file\(s\) of a store of 3"
    ):
        prepare_recovery(folder)
    for name in ("part-1.sqlite3", "part-2.sqlite3"):
        (folder / name).unlink()
    with pytest.raises(RecoveryError, match=r"found 1 file\(s\) of a store of 3"):
        prepare_recovery(folder)


def test_damaged_store_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vessel"
    folder.mkdir()
    (folder / "part-0.sqlite3").write_text("not a database, but long enough to be one" * 30)
    with pytest.raises(RecoveryError, match="not a readable recovery store"):
        prepare_recovery(folder)


def thread(mode: str, data: Path, name: str, ended: threading.Event) -> FlowThread:
    stop = threading.Event()
    settings = Settings(data_dir=data)
    metrics = FlowMetrics(name)
    return FlowThread(
        name,
        lambda: tiny(mode)(settings, metrics, stop),
        settings.recovery_dir(name),
        timedelta(seconds=0.1),
        stop,
        state=FlowState(name, metrics),
        on_end=ended.set,
    )


def test_two_flow_threads_run_and_end(tmp_path: Path) -> None:
    ended = threading.Event()
    flows = [thread("count", tmp_path, name, ended) for name in ("vessel", "archive")]
    for flow in flows:
        flow.start()
    assert all(flow.alive for flow in flows)
    assert all(flow.stop(DEADLINE_S) for flow in flows)
    assert [(flow.error, flow.state.phase) for flow in flows] == [(None, "stopped")] * 2
    assert ended.is_set()


def test_flow_thread_keeps_what_it_died_of(tmp_path: Path) -> None:
    ended = threading.Event()
    flow = thread("nats_error", tmp_path, "vessel", ended)
    flow.start()
    assert ended.wait(DEADLINE_S)
    assert flow.stop(DEADLINE_S)
    assert flow.error is not None
    assert str(known_cause(flow.error)) == "NATS at nats://nowhere is gone: start it"
    assert (flow.state.phase, exit_code(flow.error)) == ("failed", 1)


def test_flow_thread_takes_the_store_for_itself(tmp_path: Path) -> None:
    ended = threading.Event()
    first, second = (thread("count", tmp_path, "vessel", ended) for _ in range(2))
    first.start()
    with pytest.raises(AlreadyRunningError, match="recovery store"):
        second.start()
    assert first.stop(DEADLINE_S)
    second.start()
    assert second.stop(DEADLINE_S)


def test_lock_is_free_again_after_release(tmp_path: Path) -> None:
    path = tmp_path / "data" / ".lock"
    with FileLock(path, "the folder"), pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"):
        FileLock(path, "the folder").acquire()
    FileLock(path, "the folder").acquire().release()


def test_configuration_errors_exit_with_2() -> None:
    assert exit_code(SettingsError("wrong")) == 2
    assert exit_code(RuntimeError("other")) == 1


def test_state_says_where_the_flow_is() -> None:
    metrics = FlowMetrics("vessel")
    state = FlowState("vessel", metrics)
    assert state.ready()[0] is False
    state.phase = "running"
    metrics.nats_connected.labels(stream="TELEMETRY").set(0)
    metrics.lag.labels(stream="TELEMETRY").set(3)
    said = {
        "flow": "vessel",
        "status": "running",
        "error": None,
        "connected": {"TELEMETRY": False},
        "lag": {"TELEMETRY": 3},
    }
    assert state.ready() == (False, said)
    metrics.nats_connected.labels(stream="TELEMETRY").set(1)
    assert state.ready()[0] is True
    state.phase, state.error = "failed", "why"
    assert state.live()[0] is False
