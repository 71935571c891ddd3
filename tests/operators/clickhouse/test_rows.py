import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from operators.clickhouse import Arrival, ClickHouseSink, Reader, Row
from operators.clickhouse.rows import (
    COLUMNS,
    anomaly_row,
    audit_row,
    dead_letter_row,
    device_row,
    incident_row,
    insight_row,
    log_row,
    sample_row,
    suppression_row,
)
from operators.observability import FlowMetrics
from schemas.anomaly import DetectorVote
from schemas.base import Severity
from tests.support import published
from tests.support.make import anomaly, at, enriched, line, sample

ARRIVAL = Arrival(datetime(2026, 3, 1, 0, 0, 9, 123456, tzinfo=UTC), 42)


VOTE = DetectorVote(detector="ewma", score=0.75, statistic=9.0, bound=3.0, upper=90.0, since=at(1), msg="95 is «high»")


def rows() -> dict[str, Row]:
    found, context = (
        anomaly(2, pos=(2000, -1), fields={"ip": "10.0.0.9"}, evidence_ids=("e1", "e2")),
        enriched(2, since=at(1), votes=(VOTE,)),
    )
    incident = published.incident(3)
    return {
        "log": log_row(line(1.000001, "sí «señor» ✓", meta={"pid": 7, "nested": {"a": [1]}}), (5, 3)),
        "sample": sample_row(sample(1, -0.1, labels={"core": "0"}), (6, 0)),
        "detected": anomaly_row(found, ARRIVAL, found.model_dump_json()),
        "enriched": anomaly_row(context, ARRIVAL, context.model_dump_json()),
        "incident": incident_row(incident, ARRIVAL, incident.model_dump_json()),
        "suppression": suppression_row(published.suppression(4), ARRIVAL, "{}"),
        "insight": insight_row(published.insight(5), ARRIVAL, "{}"),
        "audit": audit_row(published.audit(6), ARRIVAL, "{}"),
        "dead_letter": dead_letter_row(published.dead_letter(7), ARRIVAL),
        "device": device_row(published.device(removed=True), ARRIVAL),
    }


@pytest.fixture
def stored(connect: Callable[[], Client], dsn: str, clickhouse_database: str) -> Callable[[str], list[dict[str, Any]]]:
    sink = ClickHouseSink(connect, clickhouse_database, metrics=FlowMetrics("archive"), stop=threading.Event())
    part = sink.build_part("sink", "0", None)
    part.write_batch(list(rows().values()))
    part.close()

    def read(sql: str) -> list[dict[str, Any]]:
        reader = Reader(dsn, clickhouse_database)
        try:
            return reader.query(sql)
        finally:
            reader.close()

    return read


def test_every_row_has_a_value_a_column() -> None:
    for row in rows().values():
        assert len(row.values) == len(COLUMNS[row.table])


def test_what_is_written_is_read_back(stored: Callable[[str], list[dict[str, Any]]]) -> None:
    (log,) = stored("SELECT *, published_at FROM logs")
    assert log["ts"] == log["observed_at"] == log["published_at"] == at(1.000001)
    assert log["ts"].tzinfo is not None
    assert (log["msg"], log["meta"], log["level"]) == ("sí «señor» ✓", '{"pid":7,"nested":{"a":[1]}}', "error")
    assert (log["stream_seq"], log["stream_index"], log["error_msg"]) == (5, 3, None)

    (value,) = stored("SELECT *, published_at FROM samples")
    assert (value["metric_value"], value["unit"], value["labels"]) == (-0.1, "%", '{"core":"0"}')
    assert value["series"] == "aurora/srv-1/node/cpu_pct{core=0}"

    detected, context = stored("SELECT * FROM anomalies ORDER BY stage")
    assert (detected["stage"], detected["pos_sequence"], detected["pos_index"]) == ("detected", 2000, -1)
    assert (detected["evidence_ids"], detected["fields"]) == (["e1", "e2"], '{"ip":"10.0.0.9"}')
    assert (detected["severity"], detected["since"], detected["context"]) == ("", None, "{}")
    assert (context["stage"], context["severity"], context["severity_hint"]) == ("enriched", "high", "")
    assert context["since"] == at(1)
    assert detected["votes"] == "[]"
    assert [DetectorVote.model_validate(each) for each in json.loads(context["votes"])] == [VOTE]
    assert (context["published_at"], context["stream_seq"]) == ARRIVAL
    assert '"similar_1h":null' in context["context"]

    (incident,) = stored("SELECT * FROM incidents")
    assert incident["body"] == published.incident(3).model_dump_json()
    assert incident["scope_device_ids"] == ["gw-1", "srv-1"]
    assert incident["evidence_tracking_ids"] == [published.TRACKING_ID]
    assert (incident["severity"], incident["resolved_at"], incident["opened_at"]) == ("high", None, at(3))

    (held,) = stored("SELECT * FROM suppressions")
    assert (held["by"], held["until"], held["incident_id"]) == ("dedup_ttl", at(64), None)
    (insight,) = stored("SELECT * FROM insights")
    assert (insight["confidence"], insight["evidence_refs"], insight["tokens"]) == (0.9, ["an-1"], None)
    (audited,) = stored("SELECT * FROM audit")
    assert (audited["command_id"], audited["outcome"]) == ("cmd-1", "applied")
    (letter,) = stored("SELECT * FROM dead_letters")
    assert (letter["stream"], letter["sequence"], letter["index"], letter["encoding"]) == ("TELEMETRY", 7, 2, "base64")
    assert (letter["truncated"], letter["observed_at"], letter["stream_seq"]) == (False, at(7), 42)
    (device,) = stored("SELECT * FROM devices")
    assert (device["removed"], device["depends_on"], device["location"]) == (True, ["sw-1"], "bridge")


def test_the_first_publication_of_a_revision_wins_and_the_last_word_on_a_device(
    connect: Callable[[], Client], dsn: str, clickhouse_database: str
) -> None:
    early, late = Arrival(at(10), 1), Arrival(at(3_000_000), 2)
    first, second = published.incident(3), published.incident(3, severity=Severity.LOW)
    sink = ClickHouseSink(connect, clickhouse_database, metrics=FlowMetrics("archive"), stop=threading.Event())
    for order in (0, 1):
        part = sink.build_part("sink", "0", None)
        pairs = [(first, early), (second, late)]
        for message, arrival in pairs if order else reversed(pairs):
            part.write_batch([incident_row(message, arrival, message.model_dump_json())])
            part.write_batch([device_row(published.device(vendor=f"v{arrival.stream_seq}"), arrival)])
            part.snapshot()
        part.close()
    reader = Reader(dsn, clickhouse_database)
    assert reader.query("SELECT severity FROM incidents FINAL") == [{"severity": "high"}]
    assert reader.query("SELECT vendor FROM devices FINAL") == [{"vendor": "v2"}]
    reader.close()
