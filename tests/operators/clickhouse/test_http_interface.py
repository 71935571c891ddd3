import gzip
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from compose import clickhouse_app
from compose.chdb_engine import EngineError, Statement
from compose.clickhouse_http import _listen, serve
from compose.http_form import MAX_FIELD_BYTES, MAX_FIELDS, MAX_FORM_BYTES, form_fields
from compose.locks import ComposeError
from tests.support.clickhouse import http_server


@pytest.fixture
def http(chdb_dsn: str, clickhouse_database: str) -> Iterator[httpx.Client]:
    with http_server(chdb_dsn) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.post("/", content=f"CREATE DATABASE {clickhouse_database}").status_code == 200
        create = "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a"
        assert client.post("/", params={"database": clickhouse_database}, content=create).status_code == 200
        client.params = httpx.QueryParams(database=clickhouse_database)
        yield client


def test_the_ordinary_client_creates_inserts_and_queries(chdb_dsn: str, clickhouse_database: str) -> None:
    with http_server(chdb_dsn) as port:
        admin = clickhouse_connect.get_client(host="127.0.0.1", port=port)
        admin.command(f"CREATE DATABASE {clickhouse_database}")
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, database=clickhouse_database)
        client.command(
            "CREATE TABLE t (a UInt64, ts DateTime64(6, 'UTC'), l LowCardinality(String), n Nullable(Float64), "
            "arr Array(String)) ENGINE = MergeTree ORDER BY a"
        )
        rows = [
            [i, 1_700_000_000_000_000 + i, f"l{i % 3}", None if i % 2 else i / 3, ["ä", str(i)]] for i in range(5000)
        ]
        client.insert(
            "t", rows, column_names=["a", "ts", "l", "n", "arr"], settings={"max_partitions_per_insert_block": 0}
        )
        assert client.command("SELECT count() FROM t") == 5000
        found = client.query(
            "SELECT a, l, n, arr FROM t WHERE a IN {a:Array(UInt64)} AND l = {l:String} ORDER BY a",
            parameters={"a": [3, 4, 6], "l": "l0"},
            settings={"max_threads": 1},
        )
        assert found.result_rows == [(3, "l0", None, ["ä", "3"]), (6, "l0", 2.0, ["ä", "6"])]
        assert client.query("SELECT {s:String} AS s", parameters={"s": "tab\tquote'\\nl\n€"}).first_row == (
            "tab\tquote'\\nl\n€",
        )
        assert client.query("SELECT * FROM t WHERE a > 9999").result_rows == []
        assert client.raw_query("SELECT 1 AS x", fmt="JSONEachRow") == b'{"x":1}\n'
        client.raw_insert("t", column_names=["a"], insert_block=b"7001\n7002\n", fmt="TSV")
        assert client.command("SELECT count() FROM t") == 5002
        assert client.ping()
        for wrong, code in (("SELECT nope", 47), ("SELECT * FROM nowhere", 60), ("SELEKT", 62)):
            with pytest.raises(DatabaseError) as caught:
                client.query(wrong)
            assert caught.value.code == code, wrong
        client.close()
        admin.close()


@pytest.mark.parametrize("compress", [False, "lz4", "gzip"])
def test_inserts_in_every_encoding(chdb_dsn: str, clickhouse_database: str, compress: str | bool) -> None:
    with http_server(chdb_dsn) as port:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, compress=compress)
        client.command(f"CREATE DATABASE {clickhouse_database}")
        client.command(f"CREATE TABLE {clickhouse_database}.t (s String) ENGINE = MergeTree ORDER BY s")
        client.insert(f"{clickhouse_database}.t", [[f"row {i}"] for i in range(1000)], column_names=["s"])
        assert client.command(f"SELECT count() FROM {clickhouse_database}.t") == 1000
        client.close()


def test_many_threads_share_one_client(chdb_dsn: str) -> None:
    with http_server(chdb_dsn) as port:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, autogenerate_session_id=False)
        got: Queue[int] = Queue()

        def ask(first: int) -> None:
            for i in range(first, first + 20):
                got.put(int(str(client.command("SELECT {i:UInt32}", parameters={"i": i}))))

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 160, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(got.queue) == list(range(160))
        client.close()


def test_ping_and_plain_requests(http: httpx.Client) -> None:
    assert http.get("/ping").text == "Ok.\n"
    assert http.post("/", content="INSERT INTO t VALUES (1, 'a'), (2, 'b')").status_code == 200
    assert http.post("/", params={"query": "INSERT INTO t FORMAT TSV"}, content=b"3\tc\n4\td\n").status_code == 200
    body = gzip.compress(
        b'INSERT INTO t (a, s) SETTINGS max_insert_block_size = 1 FORMAT JSONEachRow\n{"a": 5, "s": "e"}'
    )
    assert http.post("/", content=body, headers={"content-encoding": "gzip"}).status_code == 200
    assert http.post("/", content="INSERT INTO t SELECT a + 10, s FROM t").status_code == 200
    answer = http.get(
        "/", params={"query": "SELECT a, s FROM t WHERE a > {a:UInt8} ORDER BY a LIMIT 2", "param_a": "3"}
    )
    assert (answer.text, answer.headers["x-clickhouse-format"]) == ("4\td\n5\te\n", "TabSeparated")
    assert http.post("/", content="SELECT count() AS n FROM t FORMAT JSONEachRow").json() == {"n": 10}
    answer = http.post("/", params={"default_format": "CSV", "query_id": "q1"}, content="SELECT 'x'")
    assert (answer.text, answer.headers["x-clickhouse-query-id"]) == ('"x"\n', "q1")


@pytest.mark.parametrize("size", [20, 2_000, 100_000])
def test_values_of_any_size_come_in_a_form_as_in_the_address(
    chdb_dsn: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = count_calls(monkeypatch)
    text = "tab\tquote'\\nl\r\n--€ " * (size // 20)
    with http_server(chdb_dsn) as port:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port)
        names = [f"n{n}" for n in range(size // 20)]
        found = client.query(
            "SELECT {text:String} AS text, {names:Array(String)} AS names, value AS rows FROM system.settings "
            "WHERE name = 'max_result_rows'",
            parameters={"text": text, "names": names},
            settings={"max_result_rows": 77},
        )
        assert found.first_row == (text, names, "77")
        client.close()
    assert len(forms) == (size > 1000)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the forms that the interface reads from now on."""
    read: list[int] = []

    def counted(body: bytes, boundary: bytes) -> dict[str, str]:
        read.append(len(body))
        return form_fields(body, boundary)

    monkeypatch.setattr(clickhouse_app, "form_fields", counted)
    return read


def form(fields: dict[str, str], boundary: str = "sea") -> bytes:
    parts = (f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    return "".join([*parts, f"--{boundary}--\r\n"]).encode()


def test_a_form_adds_to_the_address_and_wins(http: httpx.Client) -> None:
    http.post("/", content="INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    answer = http.post(
        "/",
        params={**dict(http.params), "param_a": "1", "default_format": "CSV"},
        content=form({"query": "SELECT s FROM t WHERE a = {a:UInt8}", "param_a": "2"}),
        headers={"content-type": "multipart/form-data; boundary=sea"},
    )
    assert answer.text == '"b"\n'


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (form({"query": "x" * (MAX_FIELD_BYTES + 1)}), "boundary=sea", 413, f"Field query has {MAX_FIELD_BYTES + 1} b"),
        (form({f"param_{n}": "" for n in range(MAX_FIELDS + 1)}), "boundary=sea", 413, f"More than {MAX_FIELDS} fiel"),
        (b"x" * (MAX_FORM_BYTES + 1), "boundary=sea", 413, f"More than {MAX_FORM_BYTES} bytes in one form"),
        (form({"query": "SELECT 1"})[:-10], "boundary=sea", 400, "The form has no end"),
        (form({"query": "SELECT 1"}), "boundary=lake", 400, "The form has no end"),
        (form({"query": "SELECT 1"}), "charset=utf-8", 400, "The form names no boundary"),
        (form({"": "SELECT 1"}), "boundary=sea", 400, "A part of the form has no name"),
        (form({"a": "1"}).replace(b"1", b"\xff"), "boundary=sea", 400, "Field a is not UTF-8"),
        (form({'a"; filename="b': "1"}), "boundary=sea", 400, "Field a is a file: external data is not known here"),
        (form({"param_a": "1"}), "boundary=sea", 400, "Empty query"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(
    http: httpx.Client, body: bytes, content_type: str, status: int, says: str
) -> None:
    answer = http.post("/", content=body, headers={"content-type": f"multipart/form-data; {content_type}"})
    assert answer.status_code == status
    assert says in answer.text
    assert http.post("/", content="SELECT 1").text == "1\n"


def test_as_many_fields_and_bytes_as_are_allowed_are_read(http: httpx.Client) -> None:
    long = f"SELECT 1 -- {'x' * MAX_FIELD_BYTES}"[:MAX_FIELD_BYTES]
    fields = {"query": long} | {f"param_{n}": "" for n in range(MAX_FIELDS - 1)}
    answer = http.post("/", content=form(fields), headers={"content-type": "multipart/form-data; boundary=sea"})
    assert (answer.status_code, answer.text) == (200, "1\n")


@pytest.mark.parametrize(
    ("params", "body", "status", "code"),
    [
        ({}, "SELEKT 1", 400, 62),
        ({}, "", 400, 62),
        ({}, "SELECT * FROM nowhere", 404, 60),
        ({"database": "nowhere"}, "SELECT 1", 404, 81),
        ({"no_such_setting": "1"}, "SELECT 1", 400, 115),
        ({"bad;name": "1"}, "SELECT 1", 400, 115),
        ({"max_result_rows": "1"}, "SELECT number FROM numbers(20)", 500, 396),
        ({"decompress": "1"}, "SELECT 1", 400, 48),
        ({"query": "INSERT INTO t FORMAT TSV"}, "not a number\tx\n", 400, 27),
    ],
)
def test_errors_carry_code_and_status(
    http: httpx.Client, params: dict[str, str], body: str, status: int, code: int
) -> None:
    answer = http.post("/", params={**dict(http.params), **params}, content=body)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert http.post("/", content="SELECT count() FROM t").text == "0\n"


def test_a_row_that_violates_a_constraint_is_refused_whole(http: httpx.Client) -> None:
    http.post("/", content="ALTER TABLE t ADD CONSTRAINT small CHECK a < 10")
    answer = http.post("/", params={"query": "INSERT INTO t FORMAT TSV"}, content=b"1\ta\n11\tb\n")
    assert answer.headers["x-clickhouse-exception-code"] == "469"
    assert http.post("/", content="SELECT count() FROM t").text == "0\n"


def test_settings_of_one_request_do_not_reach_the_next(http: httpx.Client) -> None:
    query = "SELECT value FROM system.settings WHERE name = 'max_result_rows'"
    assert http.post("/", params={"max_result_rows": "77"}, content=query).text == "77\n"
    assert http.post("/", content=query).text == "0\n"


def test_get_only_reads(http: httpx.Client) -> None:
    answer = http.get("/", params={"query": "INSERT INTO t VALUES (1, 'a')"})
    assert answer.headers["x-clickhouse-exception-code"] == "164"
    assert http.get("/", params={"query": "SELECT count() FROM t"}).text == "0\n"


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example:8123"}]
)
def test_a_web_page_cannot_ask(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.post("/", content="SELECT 1", headers=headers)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "497")


def test_other_paths_and_methods_are_refused(http: httpx.Client) -> None:
    assert http.get("/play").status_code == 404
    assert http.put("/", content="SELECT 1").status_code == 404


def test_a_password_is_asked_for(chdb_dsn: str) -> None:
    with http_server(chdb_dsn, password="sea") as port:
        base = f"http://127.0.0.1:{port}"
        assert httpx.post(base, content="SELECT 1").status_code == 403
        assert httpx.post(base, content="SELECT 1", auth=("watchkeeper", "lake")).status_code == 403
        assert httpx.post(base, content="SELECT 1", headers={"authorization": "Basic %%"}).status_code == 400
        assert httpx.post(base, content="SELECT 1", auth=("watchkeeper", "sea")).text == "1\n"
        assert httpx.post(base, content="SELECT 1", headers={"x-clickhouse-key": "sea"}).text == "1\n"
        assert httpx.get(f"{base}/ping").text == "Ok.\n"


def test_the_network_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match=r"0.0.0.0 is open to the network and no password is set"):
        serve(tmp_path / "db", "0.0.0.0", 0, threading.Event())
    assert not (tmp_path / "db").exists()


def test_a_port_in_use_is_named(chdb_dsn: str) -> None:
    with (
        http_server(chdb_dsn) as port,
        pytest.raises(ComposeError, match=f"cannot listen on 127.0.0.1:{port}"),
    ):
        serve(Path(chdb_dsn.removeprefix("chdb://")).with_name("other"), "127.0.0.1", port, threading.Event())


def test_answers_do_not_wait_for_acknowledgements() -> None:
    # asyncio switches Nagle's algorithm off only on sockets that say they are TCP: 40 ms a query otherwise
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("head", "body", "sql", "data"),
    [
        ("", b"INSERT INTO t (`a b`) FORMAT Native\n\x01\x02FORMAT x", b"INSERT INTO t (`a b`)", b"\x01\x02FORMAT x"),
        ("insert into t format CSV", b"1,2\n", b"insert into t", b"1,2\n"),
        ("", b"INSERT INTO t FORMAT TSV", b"INSERT INTO t", b""),
        ("", b"INSERT INTO t VALUES ('x FORMAT TSV\n')", b"INSERT INTO t VALUES ('x FORMAT TSV\n')", None),
        ("", b"INSERT INTO t SELECT 1 FORMAT Null", b"INSERT INTO t SELECT 1 FORMAT Null", None),
        ("SELECT 1", b"+ 1", b"SELECT 1\n+ 1", None),
    ],
)
def test_statement_and_data_are_told_apart(head: str, body: bytes, sql: bytes, data: bytes | None) -> None:
    statement = Statement.of({"query": head} if head else {}, body, readonly=False)
    assert (statement.sql, statement.data) == (sql, data)


def test_an_empty_request_is_refused() -> None:
    with pytest.raises(EngineError, match="Empty query"):
        Statement.of({}, b" \n", readonly=False)


SERVER = """
import sys
from pathlib import Path
from compose.clickhouse_http import run
sys.exit(run(Path(sys.argv[1]), "127.0.0.1", 0))
"""


@contextmanager
def server(path: Path, end: signal.Signals) -> Iterator[tuple[int, int]]:
    """A server process: its pid and port. It must end with 0 on the signal."""
    command = [sys.executable, "-c", SERVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = (re.sub(r"\x1b\[\d+m", "", line) for line in process.stdout)
            found = next(m for line in lines if (m := re.search(r"clickhouse_listening.*port=(\d+)\s*$", line)))
            yield process.pid, int(found[1])
        finally:
            process.send_signal(end)
            assert process.wait(15) == 0


@pytest.mark.e2e
def test_as_a_process_it_ends_cleanly_keeps_its_data_and_shares_its_folder_with_nobody(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with server(path, signal.SIGTERM) as (pid, port):
        create = "CREATE TABLE default.t ENGINE = MergeTree ORDER BY a AS SELECT number AS a FROM numbers(10)"
        assert httpx.post(f"http://127.0.0.1:{port}", content=create).status_code == 200
        second = subprocess.run([sys.executable, "-c", SERVER, str(path)], capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert f"in use by another process (pid {pid})" in second.stdout + second.stderr
    with server(path, signal.SIGINT) as (_, port):
        assert httpx.post(f"http://127.0.0.1:{port}", content="SELECT count() FROM default.t").text == "10\n"
