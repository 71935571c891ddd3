"""Enrichment: what it adds to an anomaly's way, with ten million rows in ClickHouse, at 100 anomalies/s.

`python -m tests.bench.enrichment --json [--quick]`. chDB in a folder of its own, filled inside
ClickHouse through the tables that the archive writes (so the helpers are filled as they are live);
merges end before anything is measured. The flow is real: a source, `enrich`, a sink; latency is from the
source to the sink. The anomalies are hard on the cache: 100 devices, 2,000 series and about as many
families in turn, so most ask at least one question anew, and all do in the first seconds, which are told
apart (cold). The floor, measured in the same run, is the bare query: the five questions about one anomaly,
one after the other, nothing else at work. load is the machine's load average at the time (more than the
number of cores: others were at work, and P99 tells as much about them as about us).

archive_rate is rows a second that the archive's sink writes (samples of 2,000 series, 5,000 an insert
at most, as live) with the views that fill the helpers; its floor is the same without those views. Both
are the least disturbed of the rounds, taken in turn.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from operators.clickhouse import ClickHouseSink, Reader, connector, open_client
from operators.clickhouse.rows import sample_row
from operators.enrich import ContextSource, enrich, open_context
from operators.enrich.asks import Ask, Asker
from operators.enrich.operator import own_incident_type
from operators.enrich.questions import QUESTIONS
from operators.observability import FlowMetrics, configure_logging
from policy import load_policy
from policy.enrich import CachePolicy
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.ddl import retention_names
from schemas.event import Event
from schemas.identity import content_uuid
from schemas.telemetry import MetricSample
from tests.bench.report import Figure, write
from tests.support.make import sample

DATABASE = "bench"
DEVICES, METRICS, FAMILIES = 100, 20, 200
SERIES = DEVICES * METRICS
RATE = 100.0
NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = 7
START = f"toDateTime64('{NOW - timedelta(days=DAYS):%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
BLOCKS = 20
COLD = 300
"""Anomalies of the first three seconds, in which everything is asked for the first time: told apart as cold."""

SETTLE_S = 300.0


def spread(rows: int) -> str:
    """Event time of row `number` of so many, evenly over the days before now."""
    return f"{START} + toIntervalMicrosecond(intDiv(number * {DAYS * 86_400} * 1000, {rows}) * 1000)"


def fill(path: str, rows: int, ship: str = "'aurora'") -> float:
    """Samples 90 %, logs 5 %, anomalies 5 %, some incidents and the devices; the seconds it took.

    ship: SQL of the ship of row `number`.
    """
    begun = time.perf_counter()
    connector(f"chdb://{path}", DATABASE, dict.fromkeys(retention_names(), 10_000))().close()
    client = open_client(f"chdb://{path}", DATABASE)
    samples, logs = rows * 9 // 10, rows // 20
    name = f"concat('m', toString(intDiv(number, {DEVICES}) % {METRICS}))"
    device = f"concat('srv-', toString(number % {DEVICES}))"
    for block in range(BLOCKS):
        first, many = samples * block // BLOCKS, samples // BLOCKS
        client.command(
            "INSERT INTO samples (tracking_id, ship_id, ts, observed_at, stream_seq, domain, service, device_id, "
            "metric_name, metric_value, unit, labels, series) "
            f"SELECT hex(number), {ship}, {spread(samples)} AS t, t, number, "
            f"'system', 'node', {device}, {name}, 50 + 10 * sin(number) + (cityHash64(number) % 1000) / 100, "
            f"'%', '{{}}', concat({ship}, '/', {device}, '/node/', {name}) FROM numbers({first}, {many})"
        )
    client.command(
        "INSERT INTO logs (tracking_id, ship_id, ts, observed_at, stream_seq, domain, service, device_id, level, msg) "
        f"SELECT hex(number), {ship}, {spread(logs)} AS t, t, number, 'app', 'node', {device}, "
        f"if(number % 4 = 0, 'error', 'info'), 'something happened' FROM numbers({logs})"
    )
    client.command(
        "INSERT INTO anomalies (anomaly_id, stage, tracking_id, ship_id, ts, observed_at, published_at, state, "
        "anomaly_type, detector, domain, service, device_id, series, metric_name, rule) "
        f"SELECT hex(number), 'detected', hex(number), {ship}, {spread(logs)} AS t, t, t, 'firing', "
        f"'metric_threshold', 'threshold', 'system', 'node', {device}, concat({ship}, '/', {device}), "
        f"concat('m', toString(number % {METRICS})), concat('r', toString(number % {FAMILIES})) FROM numbers({logs})"
    )
    client.command(
        "INSERT INTO incidents (incident_id, revision, ship_id, published_at, incident_type, status, scope_device_ids, "
        f"opened_at, updated_at, body) SELECT toString(intDiv(number, 3)), number % 3 + 1, {ship}, {spread(20_000)} "
        f"AS t, 'resource_pressure', if(number % 3 = 2, 'resolved', 'open'), "
        f"[{device.replace('number', 'intDiv(number, 3)')}], t, t, "
        '\'{"timeline":[{"by":"policy","reason":"quiet"}]}\' FROM numbers(20000)'
    )
    client.command(
        f"INSERT INTO devices SELECT {ship}, {device}, 'server', 'acme', 'x1', 'bridge', 'high', [], false, "
        f"now64(6), number FROM numbers({DEVICES})"
    )
    client.close()
    return time.perf_counter() - begun


def anomaly(number: int) -> AnomalyDetected:
    """One of many, on a series and of a family that the past knows; ever another one."""
    mixed = number * 7919
    device, metric, family = mixed % DEVICES, mixed // DEVICES % METRICS, mixed % FAMILIES
    series = f"aurora/srv-{device}/node/m{metric}"
    identity = content_uuid("bench", str(number))
    return AnomalyDetected(
        tracking_id=identity,
        ship_id="aurora",
        anomaly_id=identity,
        pos=(number, 0),
        ts=NOW + timedelta(seconds=number / RATE),
        observed_at=NOW + timedelta(seconds=number / RATE),
        state="firing",
        anomaly_type="metric_threshold",
        detector="threshold",
        domain="system",
        service="node",
        device_id=f"srv-{device}",
        series=series,
        metric_name=f"m{family % METRICS}" if number % 2 else f"m{metric}",
        rule=f"r{family}",
        incident_type="resource_pressure",
        score=0.8,
        msg="a benchmark",
    )


class _Part(StatelessSourcePartition[Event]):
    """Hands on each anomaly when it is due; begun[n] is when that was."""

    def __init__(self, count: int, begun: list[float]) -> None:
        self._events = [Event((n, 0), NOW, anomaly(n)) for n in range(count)]
        self._begun = begun
        self._start = time.monotonic() + 0.2

    def next_batch(self) -> list[Event]:
        done, now = len(self._begun), time.monotonic()
        if done == len(self._events):
            raise StopIteration
        if now < self._start + done / RATE:
            return []
        self._begun.append(now)
        return [self._events[done]]


class _Source(DynamicSource[Event]):
    def __init__(self, count: int, begun: list[float]) -> None:
        self._args = count, begun

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        return _Part(*self._args)


class _Out(StatelessSinkPartition[Event]):
    def __init__(self, out: list[tuple[float, Event]]) -> None:
        self._out = out

    def write_batch(self, items: list[Event]) -> None:
        now = time.monotonic()
        self._out += [(now, item) for item in items]


class _Sink(DynamicSink[Event]):
    def __init__(self, out: list[tuple[float, Event]]) -> None:
        self._out = out

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Out:
        return _Out(self._out)


def latencies(context: ContextSource | None, count: int) -> tuple[list[float], int]:
    """Milliseconds from source to sink of each anomaly, in order; and how many went on with a context in part."""
    begun: list[float] = []
    out: list[tuple[float, Event]] = []
    flow = Dataflow("bench")
    events = op.input("in", flow, _Source(count, begun))
    op.output("out", enrich("enrich", events, policy=load_policy(None), context=context), _Sink(out))
    run_main(flow)
    assert [event.pos[0] for _, event in out] == list(range(count)), "order was not kept"
    bodies: list[Any] = [event.body for _, event in out]
    assert all(isinstance(body, AnomalyEnriched) for body in bodies)
    took = [1000 * (now - begun[n]) for n, (now, _) in enumerate(out)]
    return took, sum(body.error_msg is not None for body in bodies)


def bare(path: str, count: int) -> list[float]:
    """Milliseconds of the five questions about one anomaly, one after the other, sorted."""
    reader = Reader(f"chdb://{path}", DATABASE)
    took = []
    for number in range(count):
        asker = Asker(anomaly(number), own_incident_type)
        begun = time.perf_counter()
        for question in QUESTIONS:
            key = question.key(asker)
            assert key is not None
            question.ask(reader, [Ask(key, asker.anomaly.ts)])
        took.append(1000 * (time.perf_counter() - begun))
    reader.close()
    return took


VIEWS = ("similar_mv", "series_values_mv", "error_hours_mv", "device_incidents_mv")


def archived(number: int) -> MetricSample:
    """One of many, of each series in turn, its values spread over a factor of two."""
    metric = f"m{number // DEVICES % METRICS}"
    return sample(
        number / RATE, 40 + number * 7919 % 4001 / 100, device_id=f"srv-{number % DEVICES}", metric_name=metric
    )


def archive_rates(path: str, rows: int, rounds: int) -> tuple[float, float]:
    """Rows a second that the archive's sink writes with the views and without: the best of rounds taken in turn."""
    samples = [sample_row(archived(n), (n, 0)) for n in range(rows)]
    rates: dict[str, list[float]] = {"with_views": [], "without_views": []}
    for name in rates:
        connector(f"chdb://{path}", name, dict.fromkeys(retention_names(), 10_000))().close()
    client = open_client(f"chdb://{path}", "without_views")
    for view in VIEWS:
        client.command(f"DROP VIEW {view} SYNC")
    client.close()
    for _ in range(rounds):
        for name, found in rates.items():
            connect = connector(f"chdb://{path}", name, dict.fromkeys(retention_names(), 10_000))
            sink = ClickHouseSink(connect, name, metrics=FlowMetrics("archive"), stop=threading.Event())
            part = sink.build_part("sink", "0", None)
            begun = time.perf_counter()
            part.write_batch(samples)
            part.snapshot()
            found.append(rows / (time.perf_counter() - begun))
            part.close()
    return max(rates["with_views"]), max(rates["without_views"])


def settle(path: str) -> float:
    """Wait until ClickHouse has merged what was filled in at once; the seconds it took.

    A ship's rows come over days, and their merges with them.
    """
    begun = time.perf_counter()
    reader = Reader(f"chdb://{path}", DATABASE)
    still = 0
    while still < 3 and time.perf_counter() - begun < SETTLE_S:
        (row,) = reader.query("SELECT count() AS merges FROM system.merges")
        still = 0 if row["merges"] else still + 1
        time.sleep(1)
    reader.close()
    return time.perf_counter() - begun


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@contextmanager
def folder() -> Iterator[str]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-enrichment-", ignore_cleanup_errors=True) as name:
        yield str(Path(name) / "clickhouse")


def figures(quick: bool) -> Iterator[Figure]:
    """Filling, the archive's rate, the bare query, and the flow: without context, with it, and with it and no cache."""
    rows, count = (1_000_000, 500) if quick else (10_000_000, 3000)
    policy = load_policy(None).default.enrich
    none = policy.model_copy(
        update={"cache": CachePolicy(similar_s=0, quantiles_s=0, errors_s=0, incident_s=0, device_s=0)}
    )
    with folder() as path:
        keep = open_client(f"chdb://{path}")
        yield Figure("enrichment.rows", rows, "rows")
        yield Figure("enrichment.fill", fill(path, rows), "s")
        with_views, without_views = archive_rates(path, 20_000, 3 if quick else 21)
        yield Figure("enrichment.archive_rate", with_views, "rows/s", without_views)
        yield Figure("enrichment.settle", settle(path), "s")
        query = bare(path, 50 if quick else 200)
        p50, p99 = percentile(query, 0.5), percentile(query, 0.99)
        without, _ = latencies(None, count // 5)
        yield Figure("enrichment.without_context.p50", percentile(without, 0.5), "ms")
        yield Figure("enrichment.without_context.p99", percentile(without, 0.99), "ms")
        for name, chosen in (("added", policy), ("added_without_cache", none)):
            took, partial = latencies(open_context(f"chdb://{path}", DATABASE, chosen), count)
            cold, warm = took[:COLD], took[COLD:]
            yield Figure(f"enrichment.{name}.p50", percentile(warm, 0.5) - percentile(without, 0.5), "ms", p50)
            yield Figure(f"enrichment.{name}.p99", percentile(warm, 0.99) - percentile(without, 0.5), "ms", p99)
            yield Figure(f"enrichment.{name}.cold.p99", percentile(cold, 0.99) - percentile(without, 0.5), "ms", p99)
            yield Figure(f"enrichment.{name}.max", max(took), "ms")
            yield Figure(f"enrichment.{name}.load", os.getloadavg()[0], "running")
            yield Figure(f"enrichment.{name}.partial", partial, "of " + str(count))
        keep.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, a few seconds")
    options = parser.parse_args()
    configure_logging("error")
    write(figures(options.quick), as_json=options.json)
    sys.exit(0)


if __name__ == "__main__":
    main()
