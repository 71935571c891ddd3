"""Latency: from the arrival of a log line to the incident that it opens, under load, at a subscriber.

`python -m tests.bench.latency --json [--quick]`. The vessel flow as shipped (core-fast, recovery on, nats-server
with sync_interval always), 2,000 series. single: 1,000 messages a second; batched: 10,000 samples a second, 50
a message. Twice a second a line opens an incident (on ten ships in turn, so that they make no storm); its latency
is from its time of storage in TELEMETRY to the incident's arrival at a subscriber. Nothing is enriched but in enriched:
single again, each anomaly with its context from a ClickHouse (chDB, served over HTTP) of ten million rows. The floor
is a publish by one client to a subscription of another through the same server at the same time.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import nats
from nats.aio.msg import Msg

from operators.clickhouse import ClickHouseError, Reader
from tests.bench.enrichment import DATABASE, fill, settle
from tests.bench.jetstream_flow import in_child, result
from tests.bench.live import sent_by, start
from tests.bench.report import Figure, write
from tests.bench.telemetry_store import store
from tests.support.nats import Server, free_port, until
from tests.support.system import WATCHKEEPER

SERIES = 2000
SECONDS, QUICK_SECONDS = 120.0, 10.0
SCRAPE = 50
FAULTS_A_SECOND = 2
PROBE_S = 0.02
ROWS = 10_000_000
SETTLED_S = 3.0
QUANTILES = (50, 95, 99)
MOST_MS = 1500.0
"""What policy.slo promises of P95."""


class Seen(NamedTuple):
    """Seconds from arrival to incident, and from publish to subscription."""

    incidents: list[float]
    floor: list[float]


class Watcher:
    """Hears anomalies and incidents, and measures the floor, until it is told to end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._arrivals: dict[str, datetime] = {}
        self._opened: dict[str, tuple[str, datetime]] = {}
        self._floor: list[float] = []
        self.end = asyncio.Event()

    async def run(self) -> Seen:
        """Watch; the first seconds, in which the flow starts, do not count."""
        listener, probe = await nats.connect(self._url), await nats.connect(self._url)
        await listener.subscribe("anomaly.detected.>", cb=self._anomaly)
        await listener.subscribe("incidents.created", cb=self._incident)
        await listener.subscribe("bench.floor", cb=self._probe)
        await listener.flush()
        while not self.end.is_set():
            await probe.publish("bench.floor", str(asyncio.get_running_loop().time()).encode())
            await probe.flush()
            await asyncio.sleep(PROBE_S)
        await listener.close()
        await probe.close()
        found = [
            (at - self._arrivals[cause]).total_seconds()
            for cause, at in self._opened.values()
            if cause in self._arrivals
        ]
        return Seen(found, self._floor)

    async def _anomaly(self, msg: Msg) -> None:
        body = json.loads(msg.data)
        self._arrivals[body["tracking_id"]] = datetime.fromisoformat(body["observed_at"])

    async def _incident(self, msg: Msg) -> None:
        body: dict[str, Any] = json.loads(msg.data)
        # Where several findings are needed, it is the last that opens the incident.
        self._opened.setdefault(body["incident_id"], (body["evidence"][-1]["tracking_id"], datetime.now(UTC)))

    async def _probe(self, msg: Msg) -> None:
        self._floor.append(asyncio.get_running_loop().time() - float(msg.data))


async def watched(
    server: Server, folder: Path, rate: float, seconds: float, *, per_message: int, lines: int, **environment: str
) -> Seen:
    """Run the flow under that load, and watch what it opens."""
    messages = int(rate * seconds)
    flow = in_child("vessel", server, messages, folder, **environment)
    watcher = Watcher(server.url)
    watching = asyncio.ensure_future(watcher.run())
    await asyncio.sleep(SETTLED_S)
    faults = int(rate / FAULTS_A_SECOND)
    producer = start(server, SERIES, rate, seconds, per_message=per_message, lines=lines, faults_every=faults)
    sent = await asyncio.to_thread(sent_by, producer)
    if sent.late_s > 1.0:
        sys.stderr.write(f"the producer fell {sent.late_s:.1f} s behind its {rate:g} messages a second\n")
    await asyncio.to_thread(result, flow)
    watcher.end.set()
    return await watching


def measure(
    rate: float,
    seconds: float,
    *,
    per_message: int = 1,
    lines: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Seen:
    """The latencies at that rate of messages, on a server of its own."""
    with store(sync="always") as server, tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        watching = watched(server, Path(folder), rate, seconds, per_message=per_message, lines=lines, **environment)
        return asyncio.run(watching)


def measure_enriched(rate: float, seconds: float) -> Seen:
    """The same, with a ClickHouse that knows the ships, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        path, port = str(Path(folder) / "clickhouse"), free_port()
        filled = subprocess.run([sys.executable, "-m", "tests.bench.latency", "--fill", path], check=False)
        filled.check_returncode()
        command = [str(WATCHKEEPER), "clickhouse", "--path", path, "--port", str(port)]
        clickhouse = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            dsn = f"http://127.0.0.1:{port}/{DATABASE}"
            until(lambda: _answers(dsn), seconds=30, what="ClickHouse")
            settings = {"CLICKHOUSE_DSN": dsn, "WATCHKEEPER_CLICKHOUSE_DATABASE": DATABASE, "BENCH_ENRICHED": "1"}
            return measure(rate, seconds, environment=settings)
        finally:
            clickhouse.terminate()
            clickhouse.wait(20)


def _answers(dsn: str) -> bool:
    try:
        return bool(Reader(dsn, DATABASE).query("SELECT 1 AS one"))
    except ClickHouseError:
        return False


def fill_clickhouse(path: str) -> None:
    """Ten million rows of the ships that the faults are on."""
    fill(path, ROWS, "concat('ship-1', toString(number % 10))")
    settle(path)


def quantile(values: list[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def report(name: str, seen: Seen) -> Iterator[Figure]:
    """The figures of one load."""
    for percent in QUANTILES:
        value, floor = quantile(seen.incidents, percent), quantile(seen.floor, percent)
        most = MOST_MS if percent == 95 else None
        yield Figure(f"latency.{name}.p{percent}", value * 1000, "ms", floor * 1000, most=most)
    yield Figure(f"latency.{name}.incidents", len(seen.incidents), "incidents")


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    yield from report("single", measure(1000.0, QUICK_SECONDS if quick else SECONDS))
    if not quick:
        yield from report("enriched", measure_enriched(1000.0, SECONDS / 2))
        yield from report("batched", measure(10_000 / SCRAPE, SECONDS / 2, per_message=SCRAPE, lines=0))


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="ten seconds of single messages")
    parser.add_argument("--fill", metavar="FOLDER", help="only fill a ClickHouse there, for enriched")
    asked = parser.parse_args(arguments)
    if asked.fill:
        fill_clickhouse(asked.fill)
        return 0
    return 0 if write(figures(quick=asked.quick), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
