"""More than the flows can take for a while: memory stays bounded, they catch up, and nothing is lost."""

import asyncio
import json
import threading
import time
from functools import partial
from pathlib import Path

import nats
import psutil

from operators.clickhouse import Reader
from tests.support.nats import until
from tests.support.parts import Parts, parts_in
from tests.torture.audit import Audit
from tests.torture.reckoning import ENVIRONMENT, Result, drain, is_level

SAMPLES = 500
"""A message; large, since a single producer must outrun two flows."""

SERIES = 2000
FLOWS = ("vessel", "archive")
MEMORY_MB = 1500.0
"""What a flow may take; its buffers are bounded by WATCHKEEPER_SOURCE_WINDOW and 96 MiB of payload."""


class Flood(threading.Thread):
    """Publishes samples as fast as the server acknowledges them, at most `samples` a second, for some seconds."""

    def __init__(self, url: str, samples: float, seconds: float) -> None:
        super().__init__(name="flood", daemon=True)
        self.messages = 0
        self.error: Exception | None = None
        self._url, self._rate, self._seconds = url, samples / SAMPLES, seconds

    def run(self) -> None:
        try:
            asyncio.run(self._publish())
        except Exception as error:  # noqa: BLE001 - looked at by the owner
            self.error = error

    async def _publish(self) -> None:
        client = await nats.connect(self._url)
        context = client.jetstream(publish_async_max_pending=64)
        bodies = [_body(number) for number in range(SERIES // SAMPLES)]
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < self._seconds:
            if self.messages > passed * self._rate:
                await asyncio.sleep(0.002)
                continue
            await context.publish_async("metrics.ingested.system.srv", bodies[self.messages % len(bodies)])
            self.messages += 1
        await context.publish_async_completed()
        await client.close()


def _body(number: int) -> bytes:
    """SAMPLES samples of as many series, without ids and times: they follow from place and arrival."""
    first = number * SAMPLES
    return json.dumps(
        [
            {"device_id": f"srv-{each // 10}", "service": "node", "metric_name": f"m{each % 10}", "metric_value": 40.5}
            for each in range(first, first + SAMPLES)
        ]
    ).encode()


def run_pressure(seed: int, folder: Path, *, samples: float, seconds: float) -> Result:
    """Flood the flows; the audit counts what became rows, and memory beyond MEMORY_MB is wrong."""
    begun = time.monotonic()
    with parts_in(folder, environment=ENVIRONMENT) as parts:
        parts.start_clickhouse()
        for flow in FLOWS:
            parts.start_flow(flow)
        flood = Flood(parts.nats.url, samples, seconds)
        flood.start()
        lag, memory = _watch(parts, flood)
        if flood.error is not None:
            raise flood.error
        ended = time.monotonic()
        for flow in FLOWS:
            until(partial(is_level, parts, flow), seconds=600, what=f"{flow} to catch up")
        caught_up_s = time.monotonic() - ended
        drain(FLOWS, parts)
        audit = _count(parts, flood) + Audit(
            wrong=[f"{name}: {mb:.0f} MB" for name, mb in memory.items() if mb > MEMORY_MB]
        )
    more = {
        "samples_a_second": flood.messages * SAMPLES / seconds,
        "vessel_lag": lag["vessel"],
        "archive_lag": lag["archive"],
        "vessel_memory_mb": memory["vessel"],
        "archive_memory_mb": memory["archive"],
        "caught_up_s": caught_up_s,
    }
    return Result("pressure", seed, flood.messages, 0, audit, time.monotonic() - begun, more)


def _watch(parts: Parts, flood: Flood) -> tuple[dict[str, float], dict[str, float]]:
    """The largest lag (messages) and memory (MB) of each flow while the flood lasts."""
    lag, memory = dict.fromkeys(FLOWS, 0.0), dict.fromkeys(FLOWS, 0.0)
    while flood.is_alive():
        for flow in FLOWS:
            lag[flow] = max(lag[flow], *parts.health(flow).get("lag", {"": 0}).values())
            taken = psutil.Process(parts.processes[flow].pid).memory_info().rss / 1e6
            memory[flow] = max(memory[flow], taken)
        time.sleep(0.25)
    return lag, memory


def _count(parts: Parts, flood: Flood) -> Audit:
    """As many rows as samples were sent, none twice."""
    reader = Reader(parts.clickhouse_dsn, "watchkeeper", max_seconds=120)
    (row,) = reader.query("SELECT count() AS rows, uniqExact(tracking_id) AS ids FROM samples FINAL")
    reader.close()
    sent = flood.messages * SAMPLES
    audit = Audit(compared=sent)
    audit.lost += [f"{sent - row['ids']} samples"] * (row["ids"] < sent)
    audit.doubled += [f"{row['rows'] - row['ids']} rows"] * (row["rows"] > row["ids"])
    audit.wrong += [f"{row['ids'] - sent} samples more than were sent"] * (row["ids"] > sent)
    return audit
