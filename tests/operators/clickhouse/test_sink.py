import ast
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from clickhouse_connect.driver.client import Client

from operators.clickhouse import ClickHouseError, ClickHouseSink, Reader, Row, SchemaError, connector, open_client
from operators.clickhouse.rows import COLUMNS, log_row, sample_row
from operators.clickhouse.sink import ClickHousePart
from operators.clickhouse.writer import BackgroundWriter, Limits
from operators.observability import FlowMetrics
from schemas.identity import event_uuid
from tests.support.clickhouse import http_server, retention
from tests.support.disk import fill
from tests.support.make import STREAM, line, sample


def logs(count: int, first: int = 0) -> list[Row]:
    return [
        log_row(line(i / 1000, f"line {i}", tracking_id=event_uuid(STREAM, i, 0)), (i, 0))
        for i in range(first, first + count)
    ]


def value(metrics: FlowMetrics, name: str, label: str) -> float:
    key = {"dead_letters": "reason"}.get(name, "table")
    return metrics.registry.get_sample_value(f"watchkeeper_{name}_total", {key: label}) or 0.0


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def metrics() -> FlowMetrics:
    return FlowMetrics("archive")


@pytest.fixture
def reader(dsn: str, clickhouse_database: str) -> Iterator[Reader]:
    with closing(Reader(dsn, clickhouse_database)) as made:
        yield made


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def count(reader: Reader, table: str = "logs", final: str = "FINAL") -> int:
    return int(reader.query(f"SELECT count() AS n FROM {table} {final}")[0]["n"])


def test_rows_are_durable_when_snapshot_returns(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop, max_rows=100).build_part(
        "s", "0", None
    )
    part.write_batch(logs(1050))
    part.snapshot()
    assert count(reader) == 1050
    part.write_batch(logs(7, 1050))
    part.close()
    assert count(reader) == 1057
    assert value(metrics, "rows_written", "logs") == 1057


def test_rows_do_not_wait_for_a_snapshot(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    sink = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop, max_wait_s=0.1)
    part = sink.build_part("s", "0", None)
    part.write_batch(logs(3))
    until(lambda: value(metrics, "rows_written", "logs") == 3)
    assert count(reader) == 3
    part.close()


def test_rows_written_again_after_a_crash_collapse(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    sink = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop)
    for rows in (logs(500), logs(700)):
        part = sink.build_part("s", "0", None)
        part.write_batch(rows)
        part.close()
    assert value(metrics, "rows_written", "logs") == 1200
    assert count(reader) == 700
    once = "SELECT count() AS n FROM (SELECT * FROM logs LIMIT 1 BY tracking_id)"
    assert reader.query(once)[0]["n"] == 700


def test_one_poison_row_does_not_stop_the_others(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    part.write_batch(logs(1))
    part.snapshot()
    client = connect()
    client.command("ALTER TABLE logs ADD CONSTRAINT no_rats CHECK msg != 'rats'")
    client.close()
    rows = logs(300, 1)
    for at, msg in ((17, "rats"), (250, "half a \ud83d pair")):
        values = list(rows[at].values)
        values[COLUMNS["logs"].index("msg")] = msg
        rows[at] = Row("logs", tuple(values))
    values = list(rows[99].values)
    values[COLUMNS["logs"].index("stream_seq")] = -1
    rows[99] = Row("logs", tuple(values))
    part.write_batch(rows)
    part.snapshot()
    part.write_batch(rows)
    part.close()
    assert count(reader) == 298
    letters = reader.query("SELECT * FROM dead_letters FINAL ORDER BY observed_at")
    assert [letter["subject"] for letter in letters] == ["clickhouse.logs"] * 3
    assert "no_rats" in letters[0]["reason"]
    assert "surrogates not allowed" in letters[2]["reason"]
    assert '"msg": "rats"' in letters[0]["payload"]
    assert [letter["ship_id"] for letter in letters] == ["aurora"] * 3
    assert value(metrics, "dead_letters", "clickhouse_refused") == 6


def with_message(row: Row, msg: str) -> Row:
    values = list(row.values)
    values[COLUMNS["logs"].index("msg")] = msg
    return Row("logs", tuple(values))


@pytest.mark.parametrize("others", [200, 0])
def test_a_row_that_is_refused_with_an_unknown_code_is_put_aside_too(
    connect: Callable[[], Client],
    clickhouse_database: str,
    reader: Reader,
    metrics: FlowMetrics,
    stop: threading.Event,
    others: int,
) -> None:
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    part.write_batch(logs(1))
    part.snapshot()
    client = connect()
    client.command(
        "CREATE MATERIALIZED VIEW trap ENGINE = Memory AS SELECT throwIf(msg = 'rats', 'rats are not welcome') AS x "
        "FROM logs"
    )
    client.close()
    rows = logs(others + 1, 1)
    rows[others // 2] = with_message(rows[others // 2], "rats")
    part.write_batch(rows)
    late = threading.Timer(20.0, stop.set)  # so that a writer that waits for ever fails the test
    late.start()
    part.close()
    late.cancel()
    assert int(reader.query("SELECT count() AS n FROM logs FINAL WHERE msg != 'rats'")[0]["n"]) == others + 1
    [letter] = reader.query("SELECT * FROM dead_letters FINAL")
    assert "rats are not welcome" in letter["reason"]
    assert value(metrics, "dead_letters", "clickhouse_refused") == 1
    assert value(metrics, "write_retries", "logs") == 0


def test_a_table_that_takes_nothing_is_waited_for_and_no_row_is_put_aside(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    part.write_batch(logs(1))
    part.snapshot()
    client = connect()
    client.command("RENAME TABLE logs TO elsewhere")
    client.command("CREATE TABLE logs (other Int64) ENGINE = Memory")
    part.write_batch(logs(50, 1))
    until(lambda: value(metrics, "write_retries", "logs") >= 2)
    client.command("DROP TABLE logs")
    client.command("RENAME TABLE elsewhere TO logs")
    client.close()
    part.close()
    assert count(reader) == 51
    assert count(reader, "dead_letters") == 0


@pytest.mark.e2e
def test_a_full_disk_is_waited_for(tmp_path: Path, free_port: int, metrics: FlowMetrics, stop: threading.Event) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no file system of its own can be mounted here (needs root)")
    words = ["clickhouse", "--path", str(disk / "clickhouse"), "--port", str(free_port)]
    with (tmp_path / "clickhouse.log").open("wb") as log:
        server = subprocess.Popen([str(Path(sys.executable).with_name("watchkeeper")), *words], stderr=log)
    try:
        dsn = f"http://127.0.0.1:{free_port}"
        sink = ClickHouseSink(connector(dsn, "watchkeeper", retention()), "watchkeeper", metrics=metrics, stop=stop)
        part = sink.build_part("s", "0", None)
        part.write_batch(logs(10))
        part.snapshot()
        filler = fill(disk)
        before = value(metrics, "write_retries", "logs")
        with structlog.testing.capture_logs() as logged:
            part.write_batch(logs(2000, 10))
            until(lambda: value(metrics, "write_retries", "logs") >= before + 2)
        assert "cannot write" in logged[-1]["error"]
        assert "free disk space" in logged[-1]["error"]
        filler.unlink()
        part.snapshot()
        with closing(Reader(dsn, "watchkeeper")) as reader:
            assert count(reader) == 2010
            assert count(reader, "dead_letters") == 0
        part.close()
    finally:
        server.kill()
        server.wait(10)
        subprocess.run(["umount", "-l", disk], check=True)


def test_clickhouse_may_be_down_at_the_start(
    chdb_dsn: str, clickhouse_database: str, free_port: int, metrics: FlowMetrics, stop: threading.Event
) -> None:
    dsn = f"http://127.0.0.1:{free_port}"
    sink = ClickHouseSink(
        connector(dsn, clickhouse_database, retention()), clickhouse_database, metrics=metrics, stop=stop
    )
    part = sink.build_part("s", "0", None)
    part.write_batch(logs(10))
    until(lambda: value(metrics, "write_retries", "logs") >= 2)
    with http_server(chdb_dsn, free_port), closing(Reader(dsn, clickhouse_database)) as reader:
        part.snapshot()
        assert count(reader) == 10
        part.close()


def test_an_outage_in_the_middle_loses_nothing(
    chdb_dsn: str, clickhouse_database: str, free_port: int, metrics: FlowMetrics, stop: threading.Event
) -> None:
    dsn = f"http://127.0.0.1:{free_port}"
    sink = ClickHouseSink(
        connector(dsn, clickhouse_database, retention()), clickhouse_database, metrics=metrics, stop=stop
    )
    part = sink.build_part("s", "0", None)
    with http_server(chdb_dsn, free_port):
        part.write_batch(logs(10))
        part.snapshot()
    part.write_batch(logs(10, 10))
    until(lambda: value(metrics, "write_retries", "logs") >= 1)
    with http_server(chdb_dsn, free_port), closing(Reader(dsn, clickhouse_database)) as reader:
        part.snapshot()
        assert count(reader) == 20
        part.close()


def test_stop_while_clickhouse_is_away_ends_within_five_seconds(
    clickhouse_database: str, free_port: int, metrics: FlowMetrics, stop: threading.Event
) -> None:
    connect = connector(f"http://127.0.0.1:{free_port}", clickhouse_database, retention())
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    part.write_batch(logs(10))
    until(lambda: value(metrics, "write_retries", "logs") >= 1)
    stop.set()
    started = time.monotonic()
    with pytest.raises(ClickHouseError, match=r"10 rows not written .*cannot be reached.* nothing is lost"):
        part.snapshot()
    assert 2.0 < time.monotonic() - started < 5.0


def test_stop_while_clickhouse_answers_writes_everything_first(
    connect: Callable[[], Client], clickhouse_database: str, reader: Reader, metrics: FlowMetrics, stop: threading.Event
) -> None:
    part = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    stop.set()
    part.write_batch(logs(500))
    part.close()
    assert count(reader) == 500


def test_a_full_buffer_holds_the_flow_back_until_clickhouse_returns(
    chdb_dsn: str, clickhouse_database: str, free_port: int, metrics: FlowMetrics, stop: threading.Event
) -> None:
    dsn = f"http://127.0.0.1:{free_port}"
    connect = connector(dsn, clickhouse_database, retention())
    sink = ClickHouseSink(connect, clickhouse_database, metrics=metrics, stop=stop, max_rows=50, max_buffered=100)
    part = sink.build_part("s", "0", None)
    handed_over: list[int] = []

    def work() -> None:
        for first in range(0, 400, 40):
            part.write_batch(logs(40, first))
            handed_over.append(first)
        part.close()

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: value(metrics, "write_retries", "logs") >= 2)
    assert handed_over == [0, 40]
    with http_server(chdb_dsn, free_port), closing(Reader(dsn, clickhouse_database)) as reader:
        thread.join(20)
        assert count(reader) == 400


def test_a_database_newer_than_the_code_ends_the_flow(
    connect: Callable[[], Client], clickhouse_database: str, dsn: str, metrics: FlowMetrics, stop: threading.Event
) -> None:
    connect().close()
    client = open_client(dsn, clickhouse_database)
    client.command("INSERT INTO schema_version VALUES (999, 'of_tomorrow', now64(6))")
    client.close()
    fresh = connector(dsn, clickhouse_database, retention())
    part = ClickHouseSink(fresh, clickhouse_database, metrics=metrics, stop=stop).build_part("s", "0", None)
    part.write_batch(logs(1))
    with pytest.raises(SchemaError, match="update Watchkeeper"):
        part.snapshot()


def test_a_forgotten_partition_ends_its_thread(metrics: FlowMetrics, stop: threading.Event) -> None:
    ended = threading.Event()
    writer = BackgroundWriter(lambda table, rows: None, ended.set, metrics=metrics, stop=stop, limits=Limits())
    part = ClickHousePart(writer)
    del part
    assert ended.wait(5)


def test_a_few_rows_of_one_table_do_not_queue_behind_many_of_another(
    metrics: FlowMetrics, stop: threading.Event
) -> None:
    written: list[tuple[str, int]] = []
    first, go = threading.Event(), threading.Event()

    def write(table: str, rows: list[tuple[object, ...]]) -> None:
        first.set()
        assert go.wait(10)
        written.append((table, len(rows)))

    limits = Limits(max_rows=100, max_wait_s=60, max_buffered=5000)
    writer = BackgroundWriter(write, lambda: None, metrics=metrics, stop=stop, limits=limits)
    writer.put(logs(100))
    assert first.wait(5)
    writer.put(logs(1000, 100))
    writer.put([sample_row(sample(1, 1.0), (1, 0))])
    threading.Timer(0.1, go.set).start()
    writer.close()
    assert written[:2] == [("logs", 100), ("samples", 1)]
    assert sum(rows for _, rows in written) == 1101


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_wait_s": 0.0}, {"max_rows": 10, "max_buffered": 9}])
def test_limits_that_cannot_be_are_refused(limits: dict[str, int], metrics: FlowMetrics, stop: threading.Event) -> None:
    with pytest.raises(ValueError, match="expected max_rows"):
        ClickHouseSink(lambda: open_client("chdb:///x"), "d", metrics=metrics, stop=stop, **limits)


WRITE_UNTIL_KILLED = """
import sys, threading
from operators.clickhouse import ClickHouseSink, connector
from operators.observability import FlowMetrics
from schemas.identity import event_uuid
from tests.operators.clickhouse.test_sink import logs
from tests.support.clickhouse import retention

connect = connector(sys.argv[1], "db", retention())
sink = ClickHouseSink(connect, "db", metrics=FlowMetrics("archive"), stop=threading.Event())
part = sink.build_part("s", "0", None)
written = 0
while True:
    part.write_batch(logs(1000, written))
    part.snapshot()
    written += 1000
    print(written, flush=True)
"""

COUNT = """
import sys
from operators.clickhouse import Reader
print(Reader(sys.argv[1], "db").query("SELECT count() AS n, uniqExact(tracking_id) AS ids FROM logs FINAL"))
"""


@pytest.mark.e2e
def test_after_kill_9_everything_that_a_snapshot_confirmed_is_there(tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, dsn], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        confirmed = [int(line) for line in itertools.islice((i for i in process.stdout if i.strip().isdigit()), 12)][-1]
        process.kill()
    out = subprocess.run([sys.executable, "-c", COUNT, dsn], capture_output=True, text=True, timeout=60)
    (row,) = ast.literal_eval(out.stdout)
    assert row["n"] == row["ids"] >= confirmed == 12_000
