import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client

from operators.clickhouse import (
    ClickHouseAwayError,
    ClickHouseQueryError,
    ClickHouseSink,
    QueryTooBigError,
    Reader,
    open_client,
)
from operators.clickhouse.rows import log_row
from operators.observability import FlowMetrics
from tests.support.make import at, line


@pytest.fixture
def reader(connect: Callable[[], Client], dsn: str, clickhouse_database: str) -> Iterator[Reader]:
    sink = ClickHouseSink(connect, clickhouse_database, metrics=FlowMetrics("archive"), stop=threading.Event())
    part = sink.build_part("sink", "0", None)
    part.write_batch([log_row(line(i, f"it's line\t{i}"), (i, 0)) for i in range(20)])
    part.close()
    with closing(Reader(dsn, clickhouse_database, max_seconds=1.0, max_rows=1000)) as made:
        yield made


def test_parameters_are_bound_and_times_come_back_aware(reader: Reader) -> None:
    rows = reader.query(
        "SELECT ts, msg, stream_seq FROM logs FINAL WHERE ts >= {since:DateTime64(6, 'UTC')} AND msg = {msg:String}",
        {"since": at(3), "msg": "it's line\t7"},
    )
    assert rows == [{"ts": at(7), "msg": "it's line\t7", "stream_seq": 7}]
    assert rows[0]["ts"].utcoffset() == datetime.now(UTC).utcoffset()
    many = reader.query("SELECT count() AS n FROM logs WHERE msg IN {m:Array(String)}", {"m": ["it's line\t1", "x"]})
    assert many == [{"n": 1}]


def test_what_looks_like_sql_in_a_parameter_stays_text(reader: Reader) -> None:
    assert reader.query("SELECT {a:String} AS a", {"a": "'; DROP TABLE logs; --"}) == [{"a": "'; DROP TABLE logs; --"}]
    assert reader.query("SELECT count() AS n FROM logs") == [{"n": 20}]


def test_no_rows_is_an_empty_list(reader: Reader) -> None:
    assert reader.query("SELECT * FROM logs WHERE msg = 'nothing'") == []


def test_a_query_that_takes_too_long_fails_and_the_next_one_works(reader: Reader) -> None:
    with pytest.raises(QueryTooBigError, match="takes too long or gives too much"):
        reader.query("SELECT max(cityHash64(number)) FROM numbers(1000000000000)")
    reader.ping()


def test_a_query_that_gives_too_much_fails_rather_than_answer_in_part(reader: Reader) -> None:
    with pytest.raises(QueryTooBigError):
        reader.query("SELECT number FROM numbers(1001)")
    assert len(reader.query("SELECT number FROM numbers(1000)")) == 1000


def test_a_wrong_query_is_refused_with_its_code(reader: Reader) -> None:
    with pytest.raises(ClickHouseQueryError, match="refused a statement") as caught:
        reader.query("SELEKT 1")
    assert caught.value.code == 62


def test_a_table_that_is_not_there_yet_says_who_makes_it(reader: Reader) -> None:
    with pytest.raises(ClickHouseAwayError, match="start the archive flow"):
        reader.query("SELECT * FROM not_yet")


def test_many_threads_may_read_at_once(reader: Reader, dsn: str, clickhouse_database: str) -> None:
    patient = Reader(dsn, clickhouse_database)

    def ask(i: int) -> int:
        return int(patient.query("SELECT {i:UInt32} + count() AS n FROM logs", {"i": i})[0]["n"])

    with closing(patient), ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(100))) == [i + 20 for i in range(100)]


def test_no_more_clients_than_allowed_and_waiting_is_bounded(chdb_dsn: str) -> None:
    opened: list[Client] = []

    def opening(dsn: str, database: str, *, read_timeout_s: int) -> Client:
        opened.append(open_client(dsn, database, read_timeout_s=read_timeout_s))
        return opened[-1]

    with closing(Reader(chdb_dsn, "default", max_seconds=2.0, max_clients=2, open_with=opening)) as reader:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: reader.ping(), range(40)))
        assert 1 <= len(opened) <= 2
    with closing(Reader(chdb_dsn, "default", max_seconds=0.3, max_clients=1)) as reader, ThreadPoolExecutor(1) as pool:
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with reader._client():
                entered.set()
                leave.wait(5)

        held = pool.submit(hold)
        assert entered.wait(5)
        with pytest.raises(ClickHouseAwayError, match=r"all readers busy for 0.3 s"):
            reader.ping()
        leave.set()
        held.result(5)
        reader.ping()


def test_a_server_that_is_away_is_said_and_found_again() -> None:
    with closing(Reader("http://127.0.0.1:1", "x")) as reader:
        for _ in range(2):
            with pytest.raises(ClickHouseAwayError, match="start it, or correct CLICKHOUSE_DSN"):
                reader.ping()
