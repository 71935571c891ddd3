"""`watchkeeper silences`: the list from the command line, by a real API over a real chDB."""

import json
from typing import Any

import pytest

from tests.api.conftest import Archive, api, archive, chdb_dsn, clickhouse_database, now, reader
from tests.api.story import held, row_of
from tests.api.test_silences import made
from tests.compose.test_commands import api_port, run

__all__ = ["api", "api_port", "archive", "chdb_dsn", "clickhouse_database", "now", "reader"]

pytestmark = pytest.mark.e2e

FIRST = "5117e0ce-0000-4000-8000-000000000001"
SECOND = "5117e0ce-0000-4000-8000-000000000002"


def listed(port: int, *words: str, **environ: str) -> str:
    done = run(None, "silences", *words, port=port, **environ)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_nothing_silenced_is_said_with_the_next_step(archive: Archive, api_port: int) -> None:
    assert listed(api_port) == "nothing is silenced; make a silence with: watchkeeper silence --help\n"


def test_each_silence_says_what_whose_why_until_when_and_how_often(archive: Archive, api_port: int) -> None:
    archive.add(
        made(FIRST),
        made(
            SECOND, hours=3, matchers={"rule": "rf_*", "domain": "comms"}, by="ben", reason="silence by ben: mast work"
        ),
    )
    archive.add(row_of(held("1", 60, "silence", by=FIRST)), row_of(held("2", 90, "silence", by=FIRST)))
    assert listed(api_port).splitlines() == [
        FIRST,
        "  device_id=vsat-1; until 2026-03-01 02:00:00Z",
        "  by ana: dry dock",
        "  held back 2, the last at 2026-03-01 00:01:30Z",
        SECOND,
        "  rule=rf_*, domain=comms; until 2026-03-01 03:00:00Z",
        "  by ben: mast work",
        "  held back 0",
        "→ end one before its time:",
        f"  watchkeeper unsilence {FIRST}",
    ]


def test_of_several_ships_each_is_named_and_one_can_be_asked_for(archive: Archive, api_port: int) -> None:
    archive.add(made(FIRST), made(SECOND, ship_id="borealis"))
    both = listed(api_port)
    assert "ship aurora: device_id=vsat-1" in both
    assert "ship borealis: device_id=vsat-1" in both
    assert SECOND not in listed(api_port, "--ship", "aurora")


def test_for_programs_it_is_json(archive: Archive, api_port: int) -> None:
    archive.add(made(FIRST))
    found: list[dict[str, Any]] = json.loads(listed(api_port, "--json"))
    assert [(each["silence_id"], each["hits"]) for each in found] == [(FIRST, 0)]


def test_without_the_api_it_says_what_to_do() -> None:
    done = run(None, "silences")
    assert done.exit_code == 1
    assert "does not answer" in done.stderr
