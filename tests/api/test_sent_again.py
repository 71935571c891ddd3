"""Anybody who can publish can send a tracking_id again: what came first stays the event, wherever it is read."""

from typing import Any

import pytest

from operators.clickhouse import Row
from operators.clickhouse.rows import log_row, sample_row
from schemas.base import Level
from schemas.telemetry import LogMessage
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import both, evidence_of, incident, row_of
from tests.support.make import at, line, sample

LOG = line(1, "Failed password for root")
FOUND, ENRICHED = both(1, tracking_id=LOG.tracking_id)
WHOLE = incident("a", 2, evidence=(evidence_of(FOUND),))


def forged(**fields: Any) -> LogMessage:
    """Another text under the line's tracking_id: same device, service and time, so the same key but for arrival."""
    return LOG.model_copy(update={"msg": "all quiet", "level": Level.INFO, "observed_at": at(60), **fields})


SAME_KEY = forged()
SAME_MOMENT = forged(observed_at=at(1))
ELSEWHERE = forged(device_id="a-device-that-sorts-first", ts=at(0))


def merge(archive: Archive) -> None:
    for table in ("logs", "samples"):
        archive.client.command(f"OPTIMIZE TABLE {archive.database}.{table} FINAL")


def texts(api: ApiClient) -> list[str]:
    return [each["msg"] for each in api.json(f"/api/v3/trace/{LOG.tracking_id}")["trace"]["logs"]]


def evidence_text(api: ApiClient) -> str:
    (resolved,) = api.json(f"/api/v3/incidents/{WHOLE.incident_id}")["evidence_resolved"]
    return str(resolved["log"]["msg"])


@pytest.mark.parametrize("second", [SAME_KEY, SAME_MOMENT, ELSEWHERE], ids=["same key", "same moment", "elsewhere"])
@pytest.mark.parametrize("written", ["in order", "later first", "one part"])
def test_the_first_line_stays_the_evidence_and_the_later_is_shown_after_it(
    api: ApiClient, archive: Archive, second: LogMessage, written: str
) -> None:
    rows: list[Row] = [log_row(LOG, (10, 0)), log_row(second, (900, 3))]
    archive.add(*(row_of(each) for each in (FOUND, ENRICHED, WHOLE)))
    if written == "one part":
        archive.add(*rows)
    for row in rows if written == "in order" else rows[::-1]:
        archive.add(row)
    for _ in range(2):
        assert texts(api) == ["Failed password for root", "all quiet"]
        assert evidence_text(api) == "Failed password for root"
        merge(archive)
    why = api.json(f"/api/v3/why/{LOG.tracking_id}")["entries"]
    assert sum("Sent later with the same tracking_id" in each["text"] for each in why) == 1


def test_a_line_that_was_only_sent_or_written_twice_is_shown_once(api: ApiClient, archive: Archive) -> None:
    again = LOG.model_copy(update={"observed_at": at(60)})
    for row in (log_row(LOG, (10, 0)), log_row(LOG, (10, 0)), log_row(again, (11, 0))):
        archive.add(row)
    assert texts(api) == ["Failed password for root"]
    merge(archive)
    assert archive.count("logs") == 2
    assert api.json(f"/api/v3/trace/{LOG.tracking_id}")["stages"][0]["at"] == "2026-03-01T00:00:01Z"


def test_a_line_under_the_id_of_a_sample_is_not_its_evidence(api: ApiClient, archive: Archive) -> None:
    value = sample(1, 97.0, tracking_id=LOG.tracking_id)
    archive.add(*(row_of(each) for each in (FOUND, ENRICHED, WHOLE)))
    archive.add(log_row(SAME_KEY, (900, 0)), sample_row(value, (10, 0)))
    (resolved,) = api.json(f"/api/v3/incidents/{WHOLE.incident_id}")["evidence_resolved"]
    assert (resolved["log"], resolved["sample"]) == (None, value.to_dict())
    assert api.json(f"/api/v3/trace/{LOG.tracking_id}")["stages"][0]["at"] == "2026-03-01T00:00:01Z"
    arrived = [each["text"] for each in api.json(f"/api/v3/why/{LOG.tracking_id}")["entries"]]
    assert "Arrived as a sample of cpu_pct of srv-1/node" in arrived


def test_a_sample_that_is_sent_again_changes_neither_trace_nor_plot(api: ApiClient, archive: Archive) -> None:
    value = sample(1, 97.0)
    second = value.model_copy(update={"metric_value": 3.0, "observed_at": at(60)})
    archive.add(sample_row(second, (900, 0)))
    archive.add(sample_row(value, (10, 0)))
    for _ in range(2):
        samples = api.json(f"/api/v3/trace/{value.tracking_id}")["trace"]["samples"]
        assert [each["metric_value"] for each in samples] == [97.0, 3.0]
        plotted = api.json("/api/v3/series/aurora/srv-1/node/cpu_pct", **{"from": "2026-03-01T00:00:00Z"})
        assert [point["value"] for point in plotted["points"]] == [97.0]
        merge(archive)
