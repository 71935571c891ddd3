"""A warm start from what the archive wrote: real chDB, the real archive flow, the real vessel flow."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main
from clickhouse_connect.driver.client import Client

from compose.replay import CollectSink
from flows.archive import archive
from flows.detect import has_snapshot
from flows.vessel import vessel
from operators.clickhouse import ClickHouseSink, QueryTooBigError, Reader, open_client
from operators.clickhouse.history import COUNTS, FORMS, MAX_FORMS, _newest, log_history, read_history
from operators.clickhouse.migrate import migrate
from operators.detect.log_history import CountedLines, LogHistory
from operators.mask import template_hash
from operators.observability import FlowMetrics, configure_logging
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.ddl import migrations
from schemas.event import Outgoing, RawMessage
from tests.support.clickhouse import retention
from tests.support.flow import SETTINGS
from tests.support.make import at, raw

HOUR = 3600.0
POLICY = load_policy(None)
NOW = at(0)


def message(number: int, seconds: float, msg: str, level: str = "info") -> RawMessage:
    body = {"ts": at(seconds).isoformat(), "domain": "app", "service": "erp", "device_id": "srv-1"}
    return raw(number, "logs.ingested.app.erp", {**body, "level": level, "msg": msg}, seconds)


def past() -> list[RawMessage]:
    """Five hours to the start: 12 jobs a minute, a warning a minute."""
    draw = random.Random(2)
    lines = [(-5 * HOUR + 5.0 * n, f"job {draw.randrange(999)} done", "info") for n in range(3600)]
    lines += [(-5 * HOUR + 60.0 * n + 1, f"battery {draw.randrange(9)} low", "warn") for n in range(300)]
    return [message(n + 1, *each) for n, each in enumerate(sorted(lines))]


def present() -> list[RawMessage]:
    """The first minutes of a new log: what was always written, a new kind of line, and a storm."""
    lines = [(5.0 * n, f"job {n} done", "info") for n in range(60)]
    lines += [(60.0 * n + 1, f"battery {n} low", "warn") for n in range(5)]
    lines += [(100.0, "coolant pump lost its prime", "error")]
    lines += [(200.0 + n / 10, f"battery {n} low", "warn") for n in range(200)]
    return [message(n + 10_000, *each) for n, each in enumerate(sorted(lines))]


def keep(connect: Callable[[], Client], database: str, messages: list[RawMessage]) -> None:
    """The archive flow over the messages."""
    metrics = FlowMetrics("archive")
    sink = ClickHouseSink(connect, database, metrics=metrics, stop=threading.Event())
    run_main(archive(TestingSource(messages, 500), sink, POLICY, SETTINGS, metrics))


def watch(messages: Sequence[Any], history: LogHistory | None, recovery: Path | None = None) -> list[AnomalyDetected]:
    """The vessel flow over the messages; the anomalies that it published."""
    out: list[Outgoing] = []
    source: Any = TestingSource(messages, 100)
    flow = vessel(source, CollectSink(out.append), POLICY, SETTINGS, FlowMetrics("vessel"), history)
    config = RecoveryConfig(str(recovery), timedelta(0)) if recovery else None
    run_main(flow, recovery_config=config, epoch_interval=timedelta(0))
    found = [each for each in out if each.subject.startswith("anomaly.detected")]
    return [AnomalyDetected.model_validate_json(each.data) for each in found]


def minute(ship_id: str) -> int:
    return 60


@pytest.fixture
def reader(connect: Callable[[], Client], dsn: str, clickhouse_database: str) -> Iterator[Reader]:
    keep(connect, clickhouse_database, past())
    with closing(Reader(dsn, clickhouse_database)) as made:
        yield made


def kinds(found: list[AnomalyDetected]) -> list[tuple[str, str, str]]:
    return [(each.detector, each.state, each.fields["template"]) for each in found]


NEW = ("template", "firing", "coolant pump lost its prime")
STORM = ("storm", "firing", "battery <num> low")


def test_a_fresh_flow_with_history_reports_what_is_new_and_nothing_that_is_known(reader: Reader) -> None:
    history = read_history(reader, now=NOW, window_s=minute)
    ship = history["aurora"]
    assert {(form.hash, form.lines) for form in ship.forms} == {
        (template_hash("job 1 done"), 3600),
        (template_hash("battery 1 low"), 300),
    }
    assert min(form.first for form in ship.forms) == at(-5 * HOUR)
    assert sum(count for lines in ship.counts for _, count in lines.windows) == 3900
    assert kinds(watch(present(), history)) == [NEW, STORM]
    assert watch(present(), None) == []


def test_the_rows_behind_an_anomaly_are_found_by_its_hash(
    reader: Reader, connect: Callable[[], Client], clickhouse_database: str
) -> None:
    found = watch(present(), read_history(reader, now=NOW, window_s=minute))
    keep(connect, clickhouse_database, present())
    sql = """SELECT msg, tracking_id FROM logs WHERE ship_id = {ship:String} AND template = {hash:String}
             AND observed_at >= {since:DateTime64(6, 'UTC')} LIMIT 1 BY tracking_id"""
    rows = {
        each.detector: reader.query(
            sql, {"ship": each.ship_id, "hash": each.fields["template_hash"], "since": each.since}
        )
        for each in found
    }
    assert [row["msg"] for row in rows["template"]] == ["coolant pump lost its prime"]
    assert [row["tracking_id"] for row in rows["template"]] == [found[0].tracking_id]
    assert len(rows["storm"]) > 150
    assert all(row["msg"].startswith("battery") for row in rows["storm"])
    (counted,) = reader.query(
        "SELECT count() AS n, countIf(template = '') AS without, uniqExact(template) AS forms FROM logs FINAL"
    )
    assert counted == {"n": len(past()) + len(present()), "without": 0, "forms": 3}


def test_a_flow_that_resumes_does_not_learn_from_history(reader: Reader, tmp_path: Path) -> None:
    history = read_history(reader, now=NOW, window_s=minute)
    init_db_dir(tmp_path, 1)
    assert not has_snapshot(tmp_path)
    assert not has_snapshot(tmp_path / "nowhere")
    tick = raw(1, "ops.tick", b"", -1.0)._replace(tick=True)
    half = [tick, TestingSource.EOF(), *present()]
    assert watch(half, None, tmp_path) == []
    assert has_snapshot(tmp_path)
    assert watch(half, history, tmp_path) == []


def test_a_store_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "part-0.sqlite3").write_text("this is no database, whatever its name says")
    assert not has_snapshot(tmp_path)


def test_only_what_is_recent_enough_is_asked_for_and_no_more_than_a_limit(reader: Reader) -> None:
    late = read_history(reader, now=at(9.5 * HOUR), window_s=minute)["aurora"]
    assert sum(form.lines for form in late.forms) == 3900
    assert {window for lines in late.counts for window, _ in lines.windows} == set()
    later = read_history(reader, now=at(4 * HOUR), window_s=minute)["aurora"]
    assert sum(count for lines in later.counts for _, count in lines.windows) == 2 * 780
    assert read_history(reader, now=at(8 * 86_400), window_s=minute) == {}
    (one,) = reader.query(FORMS, {"since": at(-HOUR * 24), "most": 1, "all": 10})
    assert one["lines"] == 3600


class Busy:
    """A reader whose answers take too long while asked for more than a day."""

    def __init__(self, *, refuses: str = "") -> None:
        self.asked: list[tuple[str, timedelta]] = []
        self._refuses = refuses

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        assert parameters is not None
        span = NOW - parameters["since"]
        self.asked.append(("forms" if sql == FORMS else "counts", span))
        if sql == self._refuses or span > timedelta(days=1):
            raise QueryTooBigError("too long")
        form = {"ship_id": "aurora", "template": "0a", "example": "x", "lines": 9, "first": at(-9)}
        return [form] if sql == FORMS else []


def test_too_much_history_is_asked_for_over_a_shorter_time() -> None:
    busy = Busy()
    assert [form.hash for form in read_history(busy, now=NOW, window_s=minute)["aurora"].forms] == ["0a"]
    assert busy.asked == [
        ("forms", timedelta(days=7)),
        ("forms", timedelta(days=1)),
        ("counts", timedelta(hours=6)),
    ]
    assert read_history(Busy(refuses=COUNTS), now=NOW, window_s=minute)["aurora"].counts == ()
    assert read_history(Busy(refuses=FORMS), now=NOW, window_s=minute) == {}


def test_counts_beyond_the_limit_are_those_of_the_newest_windows() -> None:
    counted = [
        CountedLines("a", "s", "info", "0a", tuple((window, 1) for window in range(100))),
        CountedLines("b", "s", "info", "0b", ((3, 7), (99, 1))),
        CountedLines("c", "s", "info", "0c", ((3, 7),)),
    ]
    assert _newest(counted, 103) == tuple(counted)
    a, b = _newest(counted, 11)
    assert a.windows == tuple((window, 1) for window in range(90, 100))
    assert b.windows == ((99, 1),)


def test_ten_thousand_forms_are_read_and_taught_within_seconds(
    connect: Callable[[], Client], dsn: str, clickhouse_database: str
) -> None:
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3000)]
    kinds_of = [" ".join(draw.choices(words, k=8)) for _ in range(MAX_FORMS + 500)]
    messages = [message(n + 1, -HOUR + n / 10, each) for n, each in enumerate(kinds_of)]
    keep(connect, clickhouse_database, messages)
    began = time.monotonic()
    with closing(Reader(dsn, clickhouse_database)) as many:
        history = read_history(many, now=NOW, window_s=minute)
    assert len(history["aurora"].forms) == MAX_FORMS
    watch([message(1, 1.0, "job 1 done")], history)
    assert time.monotonic() - began < 20.0


@pytest.fixture
def logged() -> Iterator[StringIO]:
    out = StringIO()
    configure_logging("info", "json", out)
    yield out
    structlog.reset_defaults()


def cold(logged: StringIO, dsn: str, database: str = "nowhere", **options: Any) -> str:
    """The reason why there is no history, told in one line of the log."""
    assert log_history(dsn, database, now=NOW, window_s=minute, **options) is None
    record = json.loads(logged.getvalue().splitlines()[-1])
    assert (record["event"], record["level"]) == ("no log history", "warning")
    assert "warm up" in record["then"]
    return str(record["reason"])


def test_a_start_goes_on_cold_when_clickhouse_is_away(logged: StringIO) -> None:
    assert "cannot be reached" in cold(logged, "http://u:secret@127.0.0.1:1/nowhere")
    assert "secret" not in logged.getvalue()


def test_a_start_does_not_hang_on_a_server_that_says_nothing(logged: StringIO) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        reason = cold(logged, f"http://127.0.0.1:{silent.getsockname()[1]}/nowhere", wait_s=0.5)
        assert time.monotonic() - began < 3.0
    assert reason == "no answer within 0.5 s"


def test_a_start_goes_on_cold_without_a_database_with_an_older_one_or_a_wrong_address(
    logged: StringIO, dsn: str, clickhouse_database: str
) -> None:
    shared: dict[str, Any] = {"shares_chdb": True}
    assert "has no database nowhere" in cold(logged, dsn, **shared)
    with closing(open_client(dsn)) as client:
        migrate(client, clickhouse_database, retention())
        client.command(f"ALTER TABLE {clickhouse_database}.logs DROP INDEX template_bloom, DROP COLUMN template")
    assert "refused a statement" in cold(logged, dsn, clickhouse_database, **shared)
    assert "expected for example" in cold(logged, "clickhouse://h/x")


def test_an_embedded_database_of_another_process_is_not_opened(logged: StringIO, tmp_path: Path) -> None:
    assert "belongs to another process" in cold(logged, f"chdb://{tmp_path}/db")
    assert not (tmp_path / "db").exists()


def test_history_is_told(logged: StringIO, reader: Reader, dsn: str, clickhouse_database: str) -> None:
    found = log_history(dsn, clickhouse_database, now=NOW, window_s=minute, shares_chdb=True)
    assert found is not None
    assert list(found) == ["aurora"]
    told = [json.loads(text) for text in logged.getvalue().splitlines()][-1]
    assert (told["event"], told["ship_id"], told["forms"], told["series"]) == ("log history", "aurora", 2, 2)


def test_rows_of_before_the_column_have_no_template(chdb_dsn: str, clickhouse_database: str) -> None:
    """A database of the version before keeps its rows; its lines teach nothing, and nothing falsely."""
    with closing(open_client(chdb_dsn)) as client:
        migrate(client, clickhouse_database, retention())
        logs = f"{clickhouse_database}.logs"
        client.command(f"ALTER TABLE {logs} DROP INDEX template_bloom, DROP COLUMN template")
        client.command(
            f"INSERT INTO {logs} (tracking_id, ship_id, ts, observed_at, service, msg) "
            f"VALUES ('t', 'aurora', {at(-60).timestamp()}, {at(-60).timestamp()}, 'erp', 'job 1 done')"
        )
        client.command(
            f"ALTER TABLE {clickhouse_database}.schema_version DELETE WHERE version >= 5 SETTINGS mutations_sync=2"
        )
        expected = [each.version for each in migrations() if each.version >= 5]
        assert migrate(client, clickhouse_database, retention()) == expected
        assert client.query(f"SELECT msg, template FROM {logs}").result_rows == [("job 1 done", "")]
    with closing(Reader(chdb_dsn, clickhouse_database)) as old:
        assert read_history(old, now=NOW, window_s=minute) == {}
