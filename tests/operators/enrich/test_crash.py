"""Kill -9 through the whole vessel flow with context on: every anomaly is enriched, once, in order."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from operators.clickhouse import Reader
from tests.operators.enrich.conftest import Store, detected
from tests.operators.enrich.crash_flow import DEVICES
from tests.support.clickhouse import http_server
from tests.support.make import anomaly

DELAY_S = 0.01
KILLS = 4


def carry(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Bytes from one to the other, a while later, until either ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            time.sleep(delay_s)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def relay(client: socket.socket, port: int) -> None:
    """One connection."""
    with client, socket.create_connection(("127.0.0.1", port)) as behind:
        for each in (client, behind):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=carry, args=(behind, client, 0.0), daemon=True)
        back.start()
        carry(client, behind, DELAY_S)
        back.join()


@contextmanager
def slowly(port: int) -> Iterator[int]:
    """A port in front of another: what clients say arrives a while later, so that answers are pending at a kill."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    client = server.accept()[0]
                    client.settimeout(None)
                    threads.append(threading.Thread(target=relay, args=(client, port), daemon=True))
                    threads[-1].start()

        threads: list[threading.Thread] = [threading.Thread(target=serve, daemon=True)]
        threads[0].start()
        yield server.getsockname()[1]
        stop.set()
        for thread in threads:
            thread.join(10)


def published(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Whole lines of a kind, as they left, repeats included."""
    path = folder / "out"
    text = path.read_text() if path.exists() else ""
    told = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [each for each in told if each["subject"].startswith(f"anomaly.{kind}.")]


def ids(told: list[dict[str, Any]]) -> list[str]:
    """The anomalies, each once, in the order of their first publication."""
    return list(dict.fromkeys(each["body"]["anomaly_id"] for each in told))


def waiting(folder: Path) -> int:
    """Anomalies that were published as detected and not yet as enriched."""
    return len(set(ids(published(folder, "detected"))) - set(ids(published(folder, "enriched"))))


@pytest.mark.slow
def test_after_kill_9_every_anomaly_is_enriched_exactly_once(
    tmp_path: Path, reader: Reader, store: Store, chdb_dsn: str
) -> None:
    store(detected(*(anomaly(n) for n in range(5))))
    pending_at_kill: list[int] = []
    with http_server(chdb_dsn) as behind, slowly(behind) as port:
        command = [sys.executable, "-m", "tests.operators.enrich.crash_flow", str(tmp_path)]
        command += [f"http://127.0.0.1:{port}", reader.database]
        for _ in range(KILLS):
            before = len(ids(published(tmp_path, "enriched")))
            process = subprocess.Popen(command)
            deadline = time.monotonic() + 60
            while process.poll() is None and not (
                len(ids(published(tmp_path, "enriched"))) >= before + 3 and waiting(tmp_path)
            ):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.kill()
            process.wait()
            pending_at_kill.append(waiting(tmp_path))
        assert subprocess.run(command, timeout=90).returncode == 0
    found, enriched = published(tmp_path, "detected"), published(tmp_path, "enriched")
    assert sum(pending > 0 for pending in pending_at_kill) >= 1, "nothing was pending at a kill: this shows nothing"
    assert len(ids(found)) == DEVICES
    assert ids(enriched) == ids(found)
    assert {each["id"] for each in enriched} == {f"{name}:enriched" for name in ids(found)}
    known = [each for each in enriched if each["body"]["context"]["similar_7d"] is not None]
    assert len(known) > len(enriched) // 2, "context was not on"
