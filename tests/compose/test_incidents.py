"""`watchkeeper incidents`: the list from the command line, by a real API over a real chDB."""

import json

import pytest

from compose.nats_server import free_port
from schemas.base import Severity
from tests.api.conftest import Archive, api, archive, chdb_dsn, clickhouse_database, now, reader
from tests.api.story import incident, row_of
from tests.compose.test_commands import api_port, run

__all__ = ["api", "api_port", "archive", "chdb_dsn", "clickhouse_database", "now", "reader"]

pytestmark = pytest.mark.e2e

ONE = incident("a", 1, incident_id="abcd1111-0000-8000-8000-000000000001", severity=Severity.CRITICAL)
TWO = incident("b", 2, incident_id="abcd2222-0000-8000-8000-000000000002", status="ack", title="A long title " * 9)
OVER = incident("c", 3, incident_id="abcd3333-0000-8000-8000-000000000003", status="resolved", title="Was something")


def listed(port: int, *words: str) -> str:
    done = run(None, "incidents", *words, port=port)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_open_and_acknowledged_ones_in_80_columns_with_the_next_step(archive: Archive, api_port: int) -> None:
    archive.add(*(row_of(each) for each in (ONE, TWO, OVER)))
    text = listed(api_port)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [lines[0].split(), lines[1].split()[:2]] == [
        ["id", "severity", "age", "status", "title"],
        ["abcd2222", "high"],
    ]
    rows = [line.split() for line in lines if line.startswith("abcd")]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("abcd2222", "high", "ack"),
        ("abcd1111", "critical", "open"),
    ]
    assert all(row[2].endswith("d") for row in rows)
    assert "Resource pressure on srv-1" in text
    assert lines[-1] == "  watchkeeper why abcd2222"
    assert "Was something" not in text
    assert "Was something" in listed(api_port, "--all")


def test_a_beginning_is_shown_as_long_as_it_takes_to_tell_them_apart(archive: Archive, api_port: int) -> None:
    twin = incident("d", 4, incident_id="abcd1111-0000-8000-8000-000000000002")
    archive.add(row_of(ONE), row_of(twin))
    assert f"\n{twin.incident_id} " in listed(api_port)


def test_limit_and_ship_and_json(archive: Archive, api_port: int) -> None:
    archive.add(row_of(ONE), row_of(incident("e", 9, ship_id="borealis")))
    assert "there are more than these 1" in listed(api_port, "--limit", "1")
    assert "borealis" in listed(api_port)
    found = json.loads(listed(api_port, "--ship", "aurora", "--json"))
    assert [each["incident_id"] for each in found] == [ONE.incident_id]


def test_nothing_open_is_said(archive: Archive, api_port: int) -> None:
    assert listed(api_port) == "no incident is open; resolved ones too: watchkeeper incidents --all\n"
    assert listed(api_port, "--all") == "there are no incidents\n"


def test_without_the_api_it_says_what_to_do() -> None:
    done = run(None, "incidents", port=free_port())
    assert done.exit_code == 1
    assert "does not answer" in done.stderr
