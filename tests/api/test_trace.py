"""The way of one event: complete, partial, unknown."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from operators.clickhouse import Reader
from policy import load_policy
from schemas.settings import Settings
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import both, evidence_of, held, incident, insight, row_of
from tests.support.make import line, sample

LOG = line(1, "Failed password for root")
FOUND, ENRICHED = both(1, tracking_id=LOG.tracking_id)


def stages(trace: dict[str, Any]) -> list[str]:
    return [stage["stage"] for stage in trace["stages"]]


def reasons(trace: dict[str, Any]) -> dict[str, str]:
    return {missing["stage"]: missing["reason"] for missing in trace["missing"]}


def of(api: ApiClient, tracking_id: str) -> dict[str, Any]:
    trace: dict[str, Any] = api.json(f"/api/v3/trace/{tracking_id}")
    assert trace.keys() == {"tracking_id", "complete", "missing", "stages", "trace"}
    assert trace["trace"].keys() == {"logs", "samples", "anomalies", "incidents", "insights"}
    assert sorted(stages(trace) + list(reasons(trace))) == sorted(
        ["ingested", "detected", "enriched", "correlated", "narrated"]
    )
    return trace


def test_a_whole_trace_has_every_stage_with_its_time(api: ApiClient, archive: Archive) -> None:
    whole = incident("a", 2, evidence=(evidence_of(FOUND),))
    later = incident("a", 9, 2, evidence=(evidence_of(FOUND),))
    archive.add(
        row_of(LOG),
        row_of(FOUND, 1.002),
        row_of(ENRICHED, 1.0035),
        row_of(whole, 1.25),
        row_of(later, 9),
        row_of(insight("a", 2), 1.5),
        row_of(insight("a", 7, 2), 7),
    )
    trace = of(api, LOG.tracking_id)
    assert trace["complete"]
    assert trace["missing"] == []
    assert trace["stages"] == [
        {"stage": "ingested", "at": "2026-03-01T00:00:01Z", "latency_ms": 0.0, "ref": LOG.tracking_id},
        {"stage": "detected", "at": "2026-03-01T00:00:01.002000Z", "latency_ms": 2.0, "ref": FOUND.anomaly_id},
        {"stage": "enriched", "at": "2026-03-01T00:00:01.003500Z", "latency_ms": 1.5, "ref": FOUND.anomaly_id},
        {
            "stage": "correlated",
            "at": "2026-03-01T00:00:01.250000Z",
            "latency_ms": 246.5,
            "ref": f"{whole.incident_id}:1",
        },
        {
            "stage": "narrated",
            "at": "2026-03-01T00:00:01.500000Z",
            "latency_ms": 250.0,
            "ref": f"{insight('a', 2).request_id}:1",
        },
    ]
    assert trace["trace"] == {
        "logs": [LOG.to_dict()],
        "samples": [],
        "anomalies": [ENRICHED.to_dict()],
        "incidents": [later.to_dict()],
        "insights": [insight("a", 2).to_dict(), insight("a", 7, 2).to_dict()],
    }


def test_rows_written_twice_are_shown_once(api: ApiClient, archive: Archive) -> None:
    whole = incident("a", 2, evidence=(evidence_of(FOUND),))
    for _ in range(2):
        archive.add(*(row_of(each) for each in (LOG, FOUND, ENRICHED, whole, insight("a", 3))))
    parts = of(api, LOG.tracking_id)["trace"]
    assert {name: len(messages) for name, messages in parts.items()} == {
        "logs": 1,
        "samples": 0,
        "anomalies": 1,
        "incidents": 1,
        "insights": 1,
    }


def test_an_event_that_is_one_of_several_evidences_belongs_to_the_incident(api: ApiClient, archive: Archive) -> None:
    """The anomaly carries the id of another line; the incident names only the anomaly."""
    value = sample(5, 97.0)
    found, enriched = both(6, evidence_ids=("x", value.tracking_id))
    archive.add(*(row_of(each) for each in (value, found, enriched, incident("a", 7, evidence=(evidence_of(found),)))))
    trace = of(api, value.tracking_id)
    assert trace["complete"]
    assert trace["trace"]["samples"] == [value.to_dict()]
    assert reasons(trace).keys() == {"narrated"}


def test_the_first_revision_that_rests_on_the_event_counts(api: ApiClient, archive: Archive) -> None:
    """The second brings it in; a third has dropped it again."""
    archive.add(
        *(row_of(each) for each in (LOG, FOUND, ENRICHED)),
        row_of(incident("a", 0, 1), 0),
        row_of(incident("a", 3, 2, evidence=(evidence_of(FOUND),)), 3),
        row_of(incident("a", 4, 3), 4),
        row_of(insight("a", 0.5), 0.5),
    )
    trace = of(api, LOG.tracking_id)
    correlated = next(stage for stage in trace["stages"] if stage["stage"] == "correlated")
    assert correlated["ref"].endswith(":2")
    assert trace["trace"]["incidents"][0]["revision"] == 3
    # The explanation is older than the event's part in the incident.
    assert trace["stages"][-1]["stage"] == "narrated"
    assert trace["stages"][-1]["latency_ms"] == 0


def test_a_line_that_nobody_found_interesting(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(LOG), row_of(line(2, "another")))
    trace = of(api, LOG.tracking_id)
    assert not trace["complete"]
    assert stages(trace) == ["ingested"]
    assert reasons(trace)["detected"] == "no anomaly rests on this event"
    assert reasons(trace)["narrated"] == "there is no incident to explain"
    assert trace["trace"]["logs"] == [LOG.to_dict()]


def test_an_anomaly_that_no_incident_rests_on_yet(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(LOG), row_of(FOUND))
    trace = of(api, LOG.tracking_id)
    assert stages(trace) == ["ingested", "detected"]
    assert "not stored" in reasons(trace)["enriched"]
    assert "no incident rests on" in reasons(trace)["correlated"]


def test_a_finding_that_was_held_back_says_why(api: ApiClient, archive: Archive) -> None:
    record = held("1", 3, "silence", anomaly_id=FOUND.anomaly_id, reason="silenced by Ana: dry dock")
    archive.add(*(row_of(each) for each in (LOG, FOUND, ENRICHED, record)))
    trace = of(api, LOG.tracking_id)
    assert reasons(trace)["correlated"] == "held back as silence: silenced by Ana: dry dock"
    assert not trace["complete"]


def test_an_incident_whose_raw_line_is_past_retention(api: ApiClient, archive: Archive) -> None:
    archive.add(*(row_of(each) for each in (FOUND, ENRICHED, incident("a", 7, evidence=(evidence_of(FOUND),)))))
    trace = of(api, LOG.tracking_id)
    assert stages(trace) == ["detected", "enriched", "correlated"]
    assert not trace["complete"]
    assert "retention" in reasons(trace)["ingested"]
    assert trace["stages"][0]["latency_ms"] == 0


@pytest.mark.parametrize(("llm", "says"), [(True, "yet"), (False, "features.llm")])
def test_a_missing_narrative_says_whether_one_is_to_come(
    reader: Reader, archive: Archive, now: Callable[[], datetime], tmp_path: Path, llm: bool, says: str
) -> None:
    (tmp_path / "policy.yaml").write_text(f"ships: {{aurora: {{features: {{llm: {str(llm).lower()}}}}}}}\n")
    api = ApiClient(create_app(reader, settings=Settings(), policy=load_policy(tmp_path), clock=now))
    archive.add(*(row_of(each) for each in (LOG, FOUND, ENRICHED, incident("a", 7, evidence=(evidence_of(FOUND),)))))
    trace = of(api, LOG.tracking_id)
    assert trace["complete"]
    assert says in reasons(trace)["narrated"]


def test_an_id_in_capitals_is_the_same_id(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(LOG))
    assert of(api, LOG.tracking_id.upper())["tracking_id"] == LOG.tracking_id


def test_an_id_nobody_has_seen_is_not_found(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(LOG))
    problem = api.problem(404, f"/api/v3/trace/{line(77, 'x').tracking_id}")
    assert problem["title"] == "Not Found"
    assert "never seen" in problem["detail"]


@pytest.mark.parametrize("tracking_id", ["7", "x" * 36, LOG.tracking_id + "0", LOG.tracking_id + "%0A", "' OR 1"])
def test_a_malformed_id_is_refused(api: ApiClient, tracking_id: str) -> None:
    problem = api.problem(422, f"/api/v3/trace/{tracking_id}")
    assert problem["errors"][0]["where"] == "path.tracking_id"
