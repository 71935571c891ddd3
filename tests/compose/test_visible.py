"""What came from outside cannot steer the terminal of whoever reads it, by any command that prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.visible import STEERING, escape_json, visible, visible_json
from operators.clickhouse import Row
from operators.clickhouse.rows import device_row
from schemas.ops import Device
from tests.api.conftest import Archive, api, archive, chdb_dsn, clickhouse_database, now, reader
from tests.api.story import arrival, both, evidence_of, held, incident, insight, row_of
from tests.api.test_silences import made
from tests.compose.test_commands import api_port, run
from tests.support.make import anomaly, line, sample

__all__ = ["api", "api_port", "archive", "chdb_dsn", "clickhouse_database", "now", "reader"]

HOSTILE = "gw\x1b]0;owned\x07\x1b[2J\x08\x7f\x9b31m\u202e\u2066\u200b\ufeff\r\n\u2028-1"
LOG = line(1, f"login failed {HOSTILE}", device_id=HOSTILE)
FOUND, ENRICHED = both(1, tracking_id=LOG.tracking_id, device_id=HOSTILE, msg=HOSTILE)
WHOLE = incident("a", 2, evidence=(evidence_of(FOUND),), title=HOSTILE, device_id=HOSTILE)
SILENCE = "5117e0ce-0000-4000-8000-000000000001"
UNKNOWN = f"nobody {HOSTILE}"


def steering(text: str) -> set[str]:
    """The characters of a command's output that would do something to a terminal."""
    import unicodedata

    return {char for char in text if unicodedata.category(char) in STEERING and char not in "\n\t"}


def story() -> list[Row]:
    hostile = {"device_id": HOSTILE, "metric_name": HOSTILE, "unit": "\x1b[2J"}
    series = f"aurora/{HOSTILE}/node/{HOSTILE}"
    return [
        *(row_of(each) for each in (LOG, FOUND, ENRICHED, WHOLE, insight("a", 3, narrative=HOSTILE))),
        *(row_of(sample(n, 97.0, **hostile)) for n in range(3)),
        row_of(anomaly(1, series=series, msg=HOSTILE, device_id=HOSTILE)),
        row_of(held("1", 3, "silence", anomaly_id=FOUND.anomaly_id, reason=HOSTILE, by=SILENCE)),
        made(SILENCE, matchers={"device_id": HOSTILE}, by=HOSTILE, reason=f"silence by x: {HOSTILE}"),
        device_row(Device(ship_id="aurora", device_id=HOSTILE, location=HOSTILE, depends_on=(HOSTILE,)), arrival(1)),
    ]


COMMANDS: list[list[str]] = [
    ["why", WHOLE.incident_id],
    ["why", FOUND.anomaly_id],
    ["why", LOG.tracking_id],
    ["why", SILENCE],
    ["why", WHOLE.incident_id, "--json"],
    ["devices", "list"],
    ["devices", "list", "--json"],
    ["devices", "import", "FILE", "--dry-run"],
    ["silences"],
    ["incidents"],
    ["incidents", "--json"],
    ["silences", "--json"],
    ["plot", f"node/{HOSTILE}", "--from", "2026-03-01T00:00:00Z"],
    ["plot", UNKNOWN],
    ["why", UNKNOWN],
    ["ack", UNKNOWN],
    ["replay", "CAPTURE"],
    ["replay", UNKNOWN],
    ["policy", "check", "--policy", UNKNOWN],
    ["doctor"],
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "in.yaml").write_text(json.dumps({"devices": {HOSTILE + "x": {"location": HOSTILE}}}))
    records = [
        {
            "seq": n + 1,
            "subject": "logs.ingested.security.sshd",
            "ts": f"2026-03-01T00:00:0{n}Z",
            "headers": {},
            "data": json.dumps(
                {"device_id": HOSTILE, "level": "error", "msg": "Failed password for root from 10.0.0.9"}
            ),
        }
        for n in range(9)
    ]
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(each) + "\n" for each in records))
    return {"FILE": str(tmp_path / "in.yaml"), "CAPTURE": str(tmp_path / "in.ndjson")}


@pytest.mark.e2e
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]).encode("ascii", "replace").decode())
def test_no_command_prints_what_steers_a_terminal(
    archive: Archive, api_port: int, files: dict[str, str], command: list[str]
) -> None:
    archive.add(*story())
    done = run(None, *(files.get(word, word) for word in command), port=api_port)
    assert done.output
    assert steering(done.stdout + done.stderr) == set()
    if command[:2] in (
        ["why", WHOLE.incident_id],
        ["devices", "list"],
        ["silences"],
        ["incidents"],
        ["replay", "CAPTURE"],
    ):
        assert done.exit_code == 0, done.output
        assert "owned" in done.stdout


def test_nothing_is_printed_past_the_one_place() -> None:
    root = Path(__file__).parents[2]
    for path in [root / "watchkeeper.py", *(root / "compose" / "cli").glob("*.py")]:
        assert path.name == "edge.py" or "typer.echo" not in path.read_text(), path
        assert "print(f" not in path.read_text(), path


@given(st.text())
def test_what_is_shown_steers_nothing_and_json_reads_back_the_same(text: str) -> None:
    assert steering(visible(text)) == set()
    assert steering(visible_json([text])) == set()
    assert json.loads(visible_json([text])) == [text]
    value: dict[str, Any] = {"a": text}
    assert json.loads(escape_json(json.dumps(value, ensure_ascii=False))) == value


def test_plain_words_of_any_language_stay_as_they_are() -> None:
    text = "Zähler 船 борей ⚓ → “ok”\n\t"
    assert visible(text) == text
