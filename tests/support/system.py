"""`watchkeeper up` as a real process: embedded nats-server, chDB, both flows and the API."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nats

from tests.support.nats import free_port, until

START_S = 40.0
WATCHKEEPER = Path(sys.executable).with_name("watchkeeper")


class Ship:
    """A running `watchkeeper up`."""

    def __init__(self, data: Path, *args: str, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.port = free_port()
        self.log = data.with_suffix(".log")
        command = [str(WATCHKEEPER), "up", "--data", str(data), "--port", str(self.port), *args]
        self.started = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def ready(self) -> "Ship":
        """Wait until it answers."""
        until(self._is_ready, seconds=START_S, what=f"ready; it said:\n{self.said()}")
        return self

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.said()}"
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def said(self) -> str:
        """All it has said so far."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def nats_url(self) -> str:
        """The address that it printed."""
        return until(lambda: re.search(r"nats://[\w.]+:\d+", self.said()), seconds=10, what="a NATS URL")[0]

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET; None for a 404."""
        answer = self.http.get(path, params=params)
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def incidents(self, **params: Any) -> list[dict[str, Any]]:
        """The incidents as the API lists them."""
        items: list[dict[str, Any]] = self.get("/api/v3/incidents", **params)["items"]
        return items

    def publish(self, *messages: tuple[str, Any]) -> None:
        """Publish (subject, body), acknowledged; body is bytes, or written as JSON."""
        asyncio.run(self._publish(messages))

    async def _publish(self, messages: tuple[tuple[str, Any], ...]) -> None:
        client = await nats.connect(self.nats_url)
        jetstream = client.jetstream()
        for subject, body in messages:
            await jetstream.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode())
        await client.close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def running(data: Path, *args: str, **options: Any) -> Iterator[Ship]:
    """A ship that is up, and gone afterwards."""
    ship = Ship(data, *args, **options)
    try:
        yield ship.ready()
    finally:
        ship.http.close()
        if ship.process.poll() is None:
            ship.kill()
