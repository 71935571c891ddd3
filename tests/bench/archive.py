"""The archive: rows a second into chDB, and how fast it makes up for lost time.

`python -m tests.bench.archive --json [--quick]`. sink: rows of samples into the archive's own sink, an epoch's
snapshot (all rows durable) after each 20,000, with the tables, views and settings that ship; the floor is the
bare driver: the same rows in the same portions to a table without views, order or fsync. drain: the archive flow
over a backlog of scrapes (50 samples a message) in a real JetStream, recovery on; the floor is three times the
live rate of 10,000 samples a second, so the ratio says whether it makes up for a pause of an hour in less than
20 minutes.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from clickhouse_connect.driver.client import Client

from operators.clickhouse import open_client
from operators.clickhouse.inserter import SETTINGS
from operators.clickhouse.rows import COLUMNS, Row, sample_row
from operators.clickhouse.sink import ClickHousePart
from operators.decode import DecodeLimits, Decoder
from operators.observability import FlowMetrics
from schemas.event import Event, RawMessage
from schemas.settings import Settings
from schemas.telemetry import MetricSample
from tests.bench.flow_run import profile_policy
from tests.bench.jetstream_flow import clickhouse_sink, in_child, result
from tests.bench.report import Figure, write
from tests.bench.telemetry_load import ShipLoad
from tests.bench.telemetry_store import fill, store

SERIES = 2000
SCRAPE = 50
EPOCH_ROWS = 20_000
ROWS, QUICK_ROWS = 1_000_000, 100_000
DRAINED, QUICK_DRAINED = 500_000, 100_000
LIVE_RATE = 10_000
PLAIN = "bench.samples"


def rows(count: int) -> list[Row]:
    """Rows as the archive makes them of a ship's samples."""
    load, decoder, now = ShipLoad(SERIES, per_message=SCRAPE, lines=0), Decoder("ship-1", DecodeLimits()), now_utc()
    out: list[Row] = []
    for number in range(count // SCRAPE):
        at = now + timedelta(milliseconds=5 * number)
        wire = load.message(number, at)
        for event in decoder.decode(RawMessage("TELEMETRY", 1, number + 1, at, wire.subject, wire.data)):
            if isinstance(event, Event) and isinstance(event.body, MetricSample):
                out.append(sample_row(event.body, event.pos))
    return out


def now_utc() -> datetime:
    """The beginning of the load: within what the tables keep."""
    return datetime.now(UTC) - timedelta(hours=1)


def through_sink(part: ClickHousePart, portion: list[Row]) -> float:
    """Seconds until all rows are durable."""
    begun = perf_counter()
    for first in range(0, len(portion), EPOCH_ROWS):
        part.write_batch(portion[first : first + EPOCH_ROWS])
        part.snapshot()
    return perf_counter() - begun


def through_driver(client: Client, portion: list[Row]) -> float:
    """Seconds until the driver has handed over all rows."""
    database, _, table = PLAIN.partition(".")
    begun = perf_counter()
    for first in range(0, len(portion), EPOCH_ROWS):
        values = [row.values for row in portion[first : first + EPOCH_ROWS]]
        client.insert(table, values, column_names=COLUMNS["samples"], database=database, settings=dict(SETTINGS))
    return perf_counter() - begun


def sink(count: int) -> Iterator[Figure]:
    """The sink against the bare driver, in turn."""
    made = rows(count)
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-", ignore_cleanup_errors=True) as folder:
        settings = Settings(data_dir=Path(folder))
        part = clickhouse_sink(settings, profile_policy("core-fast"), FlowMetrics("archive")).build_part("s", "0", None)
        client = open_client(f"chdb://{settings.data_dir / 'clickhouse'}", settings.clickhouse_database)
        client.command("CREATE DATABASE bench")
        like = f"{settings.clickhouse_database}.samples"
        client.command(f"CREATE TABLE {PLAIN} ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM {like} LIMIT 0")
        share = len(made) // 5
        rates: list[tuple[float, float]] = []
        for turn in range(5):
            portion = made[turn * share : (turn + 1) * share]
            took = through_sink(part, portion), through_driver(client, portion)
            rates.append((share / took[0], share / took[1]))
        part.close()
        client.close()
    yield Figure("archive.sink", median(rate for rate, _ in rates), "rows/s", median(floor for _, floor in rates))


def drain(count: int) -> Iterator[Figure]:
    """The flow over a backlog."""
    with store() as server, tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        last = fill(server, ShipLoad(SERIES, per_message=SCRAPE, lines=0), count // SCRAPE)
        run = result(in_child("archive", server, last, Path(folder)))
    yield Figure("archive.drain", run.rate * SCRAPE, "samples/s", 3.0 * LIVE_RATE)
    yield Figure("archive.drain.cpu", run.cpu_seconds / count * 1e6, "µs/sample")


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    yield from drain(QUICK_DRAINED if quick else DRAINED)
    yield from sink(QUICK_ROWS if quick else ROWS)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    asked = parser.parse_args(arguments)
    return 0 if write(figures(quick=asked.quick), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
