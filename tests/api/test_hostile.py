"""Values that try to be SQL, and things behind the API that are away or slow."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from api.app import create_app
from operators.clickhouse import ClickHouseQueryError, QueryTooBigError, Reader
from operators.clickhouse.rows import COLUMNS
from policy import load_policy
from schemas.settings import Settings
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import held, incident, row_of
from tests.support.make import line
from tests.support.nats import free_port

CORPUS = [
    "' OR 1=1 --",
    "') OR ('1'='1",
    '"; DROP TABLE incidents; --',
    "'; DROP DATABASE default SYNC; --",
    "\\' OR 1=1 --",
    "\\",
    "\\\\' UNION ALL SELECT 1 --",
    "' UNION ALL SELECT body FROM logs --",
    "`incidents`",
    "{ship:String}",
    "{{ship}}",
    "%(ship)s",
    "%s%s%n",
    "$1",
    "/* */",
    "\t\n\r\\N",
    "\\N",
    "NULL",
    "\x00",
    "\x1b[2J",
    "[]",
    "['a'",
    "'],['",
    "ёж ⚓ 😀 \u202e",
    "𝕏" * 64,
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "0 FORMAT JSON",
    "' SETTINGS max_execution_time = 0 --",
    "sleep(3)",
]
ROUTES = [
    ("/api/v3/stats", "ship"),
    ("/api/v3/stats/severity", "ship"),
    ("/api/v3/stats/type", "ship"),
    ("/api/v3/stats/duplicates", "ship"),
    ("/api/v3/stats/suppressions", "ship"),
    ("/api/v3/incidents", "type"),
    ("/api/v3/incidents", "ship"),
    ("/api/v3/incidents", "device"),
    ("/api/v3/silences", "ship"),
]


@pytest.mark.parametrize(("path", "name"), ROUTES)
def test_a_value_that_tries_to_be_sql_is_only_a_value(api: ApiClient, archive: Archive, path: str, name: str) -> None:
    archive.add(row_of(incident("a", 1)), row_of(line(1, "x")), row_of(held("1", 1)), row_of(held("2", 1, "silence")))
    tables = {table: archive.count(table) for table in COLUMNS}
    for value in CORPUS:
        found = api.json(path, **{name: value})
        empty = api.json(path, **{name: "nobody has this name"})
        assert found.keys() == empty.keys()
        assert {key: each for key, each in found.items() if key not in ("from", "to")} == {
            key: each for key, each in empty.items() if key not in ("from", "to")
        }, value
    assert {table: archive.count(table) for table in COLUMNS} == tables


@pytest.mark.parametrize(("name", "field"), [("ship", "ship_id"), ("type", "incident_type"), ("device", "device_id")])
def test_strange_names_are_found_by_exactly_their_name(api: ApiClient, archive: Archive, name: str, field: str) -> None:
    named: list[dict[str, Any]] = [{field: value} for value in CORPUS]
    archive.add(*(row_of(incident(value, n, **named[n])) for n, value in enumerate(CORPUS)))
    for value in CORPUS:
        items = api.json("/api/v3/incidents", **{name: value})["items"]
        assert [item["incident_id"] for item in items] == [incident(value).incident_id], value


@pytest.mark.parametrize("name", ["window", "from", "to", "domain", "top"])
def test_a_hostile_value_where_another_type_is_expected_is_refused(api: ApiClient, name: str) -> None:
    for value in CORPUS:
        api.problem(422, "/api/v3/stats/duplicates", **{name: value})


def test_an_overlong_value_is_refused_and_not_repeated(api: ApiClient) -> None:
    problem = api.problem(422, "/api/v3/incidents", ship="x" * 5000)
    assert len(str(problem)) < 1500


class Broken:
    """A reader that fails as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        raise self.error


class Hanging:
    """A reader that answers only when it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked = 0

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        self.asked += 1
        assert self.release.wait(30)
        return []


def app_over(reader: Any, now: Callable[[], datetime]) -> ApiClient:
    return ApiClient(create_app(reader, settings=Settings(), policy=load_policy(None), clock=now))


PATHS = [
    "/api/v3/stats",
    "/api/v3/stats/severity",
    "/api/v3/stats/type",
    "/api/v3/stats/duplicates",
    "/api/v3/stats/suppressions",
    "/api/v3/incidents",
    "/api/v3/incidents/x",
    "/api/v3/trace/abcdef01-2345-8000-8000-000000000007",
]


@pytest.mark.parametrize("path", PATHS)
def test_without_clickhouse_every_route_asks_to_come_again(path: str, now: Callable[[], datetime]) -> None:
    """A real connection attempt to a port where nobody listens."""
    reader = Reader(f"http://user:s3cret@127.0.0.1:{free_port()}/watchkeeper", "watchkeeper")
    api = app_over(reader, now)
    response = api.get(path)
    assert response.headers["retry-after"] == "5"
    problem = api.problem(503, path)
    assert "cannot be reached" in problem["detail"]
    assert "s3cret" not in response.text
    assert "Traceback" not in response.text


def test_tables_that_are_not_there_yet_are_clickhouse_away(
    chdb_dsn: str, clickhouse_database: str, now: Callable[[], datetime]
) -> None:
    reader = Reader(chdb_dsn, clickhouse_database)
    assert "archive" in app_over(reader, now).problem(503, "/api/v3/stats")["detail"]
    reader.close()


def test_without_clickhouse_the_api_lives_but_is_not_ready(now: Callable[[], datetime]) -> None:
    api = app_over(Reader(f"http://127.0.0.1:{free_port()}/watchkeeper", "watchkeeper"), now)
    assert api.json("/health/live")["status"] == "live"
    response = api.get("/health/ready")
    assert response.status_code == 503
    (part,) = response.json()["parts"]
    assert part["state"] == "failed"
    assert "cannot be reached" in part["detail"]
    assert "CLICKHOUSE_DSN" in part["action"]


def test_readiness_waits_two_seconds_and_asks_a_hanging_clickhouse_once(now: Callable[[], datetime]) -> None:
    hanging = Hanging()
    api = app_over(hanging, now)
    try:
        for _ in range(2):
            response = api.get("/health/ready")
            assert response.status_code == 503
            assert response.json()["parts"][0]["detail"] == "no answer within 2 s"
        assert hanging.asked == 1
    finally:
        hanging.release.set()


def test_a_query_that_is_too_big_is_answered_as_such(now: Callable[[], datetime]) -> None:
    api = app_over(Broken(QueryTooBigError("the query takes too long: ask for less", 159)), now)
    assert "ask for less" in api.problem(503, "/api/v3/stats")["detail"]


@pytest.mark.parametrize("error", [ClickHouseQueryError("syntax of secret_table"), KeyError("secret")])
def test_what_nobody_expected_is_logged_and_not_told(error: Exception, now: Callable[[], datetime]) -> None:
    api = app_over(Broken(error), now)
    with structlog.testing.capture_logs() as logs:
        response = api.get("/api/v3/incidents", headers={"X-Request-ID": "my-id-1"})
    assert [(each["event"], each["exc_info"]) for each in logs] == [("request_failed", True)]
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "my-id-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text
    assert "my-id-1" in response.json()["detail"]


def test_an_answer_over_the_bound_of_the_reader_is_refused(
    chdb_dsn: str, archive: Archive, now: Callable[[], datetime]
) -> None:
    archive.add(*(row_of(incident(f"n{n}", n)) for n in range(50)))
    reader = Reader(chdb_dsn, archive.database, max_rows=5)
    assert "ask for less" in app_over(reader, now).problem(503, "/api/v3/incidents", limit=50)["detail"]
    reader.close()


def test_a_folder_of_chdb_that_cannot_be_opened_is_clickhouse_away(
    chdb_dsn: str, tmp_path: Path, now: Callable[[], datetime]
) -> None:
    reader = Reader(f"chdb://{tmp_path / 'other'}", "watchkeeper")
    assert app_over(reader, now).problem(503, "/api/v3/stats")["detail"]
