"""ClickHouse away under load: incidents go on, the archive waits in bounded memory, and catches up."""

import time
from functools import partial
from pathlib import Path

import psutil

from tests.support.nats import until
from tests.support.parts import Parts, parts_in
from tests.torture.load import message
from tests.torture.producer import Producer
from tests.torture.reckoning import ENVIRONMENT, Result, drain, is_level, reckon

FLOWS = ("vessel", "archive")


def run_outage(seed: int, folder: Path, rate: float, *, away_s: float) -> Result:
    """Kill ClickHouse under load and start it again after away_s."""
    begun = time.monotonic()
    with parts_in(folder, environment=ENVIRONMENT) as parts:
        parts.start_clickhouse()
        for flow in FLOWS:
            parts.start_flow(flow)
        producer = Producer(parts.nats.url, partial(message, seed), rate)
        producer.start()
        producer.wait_for(3000)
        until(lambda: parts.query("SELECT 1 AS one FROM samples LIMIT 1"), seconds=60, what="the first rows")
        before, revisions = _megabytes(parts, "archive"), parts.nats.last_sequence("INCIDENTS")
        parts.kill("clickhouse")
        lag, vessel_lag, memory = _watch(parts, away_s)
        assert parts.nats.last_sequence("INCIDENTS") > revisions, "no incident while ClickHouse was away"
        parts.start_clickhouse()
        back = time.monotonic()
        producer.end()
        until(partial(is_level, parts, "archive"), seconds=300, what="the archive to catch up")
        caught_up_s = time.monotonic() - back
        drain(FLOWS, parts)
        revisions = parts.nats.last_sequence("INCIDENTS")
        audit = reckon(FLOWS, parts, producer)
    more = {
        "away_s": away_s,
        "archive_lag": lag,
        "vessel_lag": vessel_lag,
        "archive_memory_before_mb": before,
        "archive_memory_away_mb": memory,
        "caught_up_s": caught_up_s,
    }
    return Result("clickhouse_away", seed, len(producer.ledger), revisions, audit, time.monotonic() - begun, more)


def _watch(parts: Parts, away_s: float) -> tuple[int, int, float]:
    """While ClickHouse is away: the largest lag of the archive and of the vessel, the archive's largest memory."""
    until_ = time.monotonic() + away_s
    lag = vessel_lag = 0
    memory = 0.0
    while time.monotonic() < until_:
        lag = max(lag, *parts.health("archive").get("lag", {"": 0}).values())
        vessel_lag = max(vessel_lag, *parts.health("vessel").get("lag", {"": 0}).values())
        memory = max(memory, _megabytes(parts, "archive"))
        time.sleep(0.25)
    return lag, vessel_lag, memory


def _megabytes(parts: Parts, name: str) -> float:
    return float(psutil.Process(parts.processes[name].pid).memory_info().rss) / 1e6
