"""ClickHouse away, NATS killed under load: incidents flow, the archive catches up, nothing is lost or doubled."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsClientError

from tests.e2e.test_fast_path import attack
from tests.support.nats import Server, until
from tests.support.parts import Parts, parts_in

pytestmark = pytest.mark.e2e


def ids_of(vessel: Parts, device: str) -> list[str]:
    """The tracking ids of a device's lines, each as often as readers see it."""
    return [row["id"] for row in vessel.query(f"SELECT tracking_id AS id FROM logs FINAL WHERE device_id = '{device}'")]


@pytest.fixture(scope="module")
def vessel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with parts_in(tmp_path_factory.mktemp("outages")) as found:
        found.start_flow("vessel")
        found.start_flow("archive")
        yield found


def publish(server: Server, messages: list[tuple[str, Any]]) -> None:
    async def work(client: Client) -> None:
        for subject, body in messages:
            await client.jetstream().publish(subject, json.dumps(body).encode())

    server.run(work)


def last_incident(server: Server, device: str) -> bytes | None:
    async def work(client: Client) -> bytes | None:
        try:
            message = await client.jetstream().get_last_msg("INCIDENTS", "incidents.created")
        except NatsClientError:
            return None
        return message.data if message.data and device.encode() in message.data else None

    return server.run(work)


def test_clickhouse_down_at_the_start_and_later(vessel: Parts) -> None:
    first = attack("gw-dark", 20)
    publish(vessel.nats, first)
    until(lambda: last_incident(vessel.nats, "gw-dark"), seconds=15, what="an incident without ClickHouse")
    vessel.start_clickhouse()
    expected = sorted(body["tracking_id"] for _, body in first)
    until(
        lambda: sorted(ids_of(vessel, "gw-dark")) == expected, seconds=30, what=f"all lines:\n{vessel.log('archive')}"
    )

    vessel.kill("clickhouse")
    second = attack("gw-dark-again", 20)
    publish(vessel.nats, second)
    until(lambda: last_incident(vessel.nats, "gw-dark-again"), seconds=15, what="an incident without ClickHouse")
    vessel.start_clickhouse()
    expected = sorted(body["tracking_id"] for _, body in second)
    until(lambda: sorted(ids_of(vessel, "gw-dark-again")) == expected, seconds=40, what="all later lines")
    incidents = vessel.query("SELECT incident_id, count() AS n FROM incidents FINAL GROUP BY incident_id, revision")
    assert incidents
    assert {row["n"] for row in incidents} == {1}


class Producer(threading.Thread):
    """Publishes lines one after the other, each until it is acknowledged, and keeps a ledger."""

    def __init__(self, url: str, device: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.device = device
        self.ended = threading.Event()
        self.acknowledged: list[str] = []

    def has(self, count: int) -> bool:
        """So many are acknowledged."""
        return len(self.acknowledged) >= count

    def run(self) -> None:
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        client = await nats.connect(self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        while not self.ended.is_set():
            tracking_id = str(uuid.uuid4())
            body = {"tracking_id": tracking_id, "device_id": self.device, "level": "info", "msg": "still here"}
            while True:
                try:
                    headers = {"Nats-Msg-Id": tracking_id}
                    data = json.dumps(body).encode()
                    await client.jetstream().publish("logs.ingested.app.load", data, timeout=1, headers=headers)
                    self.acknowledged.append(tracking_id)
                    break
                except (NatsClientError, OSError):
                    await asyncio.sleep(0.05)
        await client.close()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_nats_restarted_under_load_loses_and_doubles_nothing(vessel: Parts, end: str) -> None:
    producer = Producer(vessel.nats.url, f"load-{end}")
    producer.start()
    until(lambda: producer.has(300), seconds=20, what="load before")
    for round_ in (1, 2):
        getattr(vessel.nats, end)()
        vessel.nats.start()
        until(partial(producer.has, 300 + 300 * round_), seconds=30, what="load after a restart")
    producer.ended.set()
    producer.join(10)
    after = attack(f"gw-{end}")
    publish(vessel.nats, after)
    until(lambda: last_incident(vessel.nats, f"gw-{end}"), seconds=20, what="an incident after the restarts")
    expected = sorted(producer.acknowledged)
    until(lambda: sorted(ids_of(vessel, f"load-{end}")) == expected, seconds=40, what="every acknowledged line, once")
    for name in ("vessel", "archive"):
        assert vessel.processes[name].poll() is None, vessel.log(name)


def test_nats_down_at_the_start_is_said_in_one_line_and_waited_for(tmp_path: Path) -> None:
    with parts_in(tmp_path) as vessel:
        vessel.nats.stop()
        vessel.start("vessel", "run", "vessel")
        until(lambda: vessel.log("vessel").count("cannot be reached") >= 2, seconds=20, what="two attempts said")
        said = vessel.log("vessel")
        assert "Traceback" not in said
        assert vessel.nats.url in said
        vessel.nats.start()
        until(lambda: "flow_started" in vessel.log("vessel"), seconds=20, what="the flow after NATS is back")
        vessel.stop("vessel")


def test_the_flows_run_as_plain_bytewax_modules_too(tmp_path: Path) -> None:
    """`python -m bytewax.run flows.vessel` and flows.archive, without our launcher."""
    server = Server(tmp_path / "nats").start()
    environment = {
        **os.environ,
        "NATS_URL": server.url,
        "CLICKHOUSE_DSN": f"chdb://{tmp_path}/clickhouse",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for flow in ("vessel", "archive"):
            command = [sys.executable, "-m", "bytewax.run", f"flows.{flow}"]
            with (tmp_path / f"{flow}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, env=environment, stderr=log, cwd=Path(__file__).parents[2]))
        until(lambda: len(server.api("STREAM.NAMES")["streams"] or ()) == 6, seconds=20, what="the streams")
        publish(server, attack("gw-bytewax"))
        until(lambda: last_incident(server, "gw-bytewax"), seconds=20, what="an incident")
        said = tmp_path / "archive.log"
        until(lambda: "clickhouse_schema" in said.read_text(), seconds=20, what="rows on their way to ClickHouse")
        assert [process.poll() for process in processes] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
        server.kill()
