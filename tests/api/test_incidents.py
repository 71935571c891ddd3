"""The list of incidents, its pages, and one incident with all that it rests on."""

from typing import Any

import pytest

from operators.clickhouse import Arrival
from operators.clickhouse.rows import incident_row
from schemas.base import Severity
from schemas.incident import Scope
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import both, evidence_of, incident, insight, row_of
from tests.support.make import at, line, sample


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["incident_id"] for item in items]


def walk(api: ApiClient, limit: int, **params: Any) -> list[str]:
    """All incident ids, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        page = api.json("/api/v3/incidents", limit=limit, **params, **cursor)
        found += ids(page["items"])
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the pages never end")


def test_items_are_the_latest_revisions_as_published(api: ApiClient, archive: Archive) -> None:
    latest = incident("a", 20, 2, title="Nyílt kapu ⚓ 'quoted' \\ \"x\"")
    archive.add(row_of(incident("a", 10, 1)), row_of(latest), row_of(incident("b", 30)))
    page = api.json("/api/v3/incidents")
    assert page["next_cursor"] is None
    assert page["items"] == [incident("b", 30).to_dict(), latest.to_dict()]


def test_a_key_from_a_newer_ship_is_passed_on(api: ApiClient, archive: Archive) -> None:
    body = incident("a", 1).to_json().decode().replace("{", '{"from_the_future":1,', 1)
    archive.add(incident_row(incident("a", 1), Arrival(at(1), 1), body))
    assert api.json("/api/v3/incidents")["items"][0]["from_the_future"] == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"status": "open"}, "a"),
        ({"status": ["ack", "resolved"]}, "bc"),
        ({"severity": "critical"}, "b"),
        ({"severity": ["critical", "high"]}, "abc"),
        ({"type": "link_down"}, "c"),
        ({"ship": "borea"}, "c"),
        ({"device": "sw-1"}, "b"),
        ({"device": "sw-2", "status": "ack"}, "b"),
        ({"status": "suppressed"}, ""),
    ],
)
def test_filters_judge_the_latest_revision(
    api: ApiClient, archive: Archive, params: dict[str, Any], expected: str
) -> None:
    scope = (Scope(device_id="sw-1", service="node"), Scope(device_id="sw-2", service="node"))
    archive.add(
        row_of(incident("a", 30)),
        row_of(incident("b", 10, 1)),
        row_of(incident("b", 20, 2, status="ack", severity=Severity.CRITICAL, scope=scope)),
        row_of(incident("c", 5, 1, ship_id="borea", incident_type="link_down")),
        row_of(incident("c", 10, 2, ship_id="borea", incident_type="link_down", status="resolved")),
    )
    items = api.json("/api/v3/incidents", **params)["items"]
    assert ids(items) == [incident(name).incident_id for name in expected]


@pytest.mark.parametrize("limit", [1, 7, 50, 500])
def test_pages_are_complete_and_in_order_also_among_equal_times(api: ApiClient, archive: Archive, limit: int) -> None:
    incidents = [incident(f"n{n}", n // 10) for n in range(60)]
    archive.add(*map(row_of, incidents))
    ordered = sorted(incidents, key=lambda each: (-each.updated_at.timestamp(), each.incident_id))
    assert walk(api, limit) == [each.incident_id for each in ordered]


def test_a_walk_is_stable_while_incidents_change_and_open(api: ApiClient, archive: Archive) -> None:
    incidents = [incident(f"n{n}", n) for n in range(10)]
    archive.add(*map(row_of, incidents))
    before = walk(api, 100)
    first = api.json("/api/v3/incidents", limit=4)
    archive.add(
        row_of(incident("n0", 100, 2)), row_of(incident("n9", 101, 2, status="resolved")), row_of(incident("new", 102))
    )
    rest = api.json("/api/v3/incidents", limit=100, cursor=first["next_cursor"])
    assert ids(first["items"]) + ids(rest["items"]) == before
    assert walk(api, 3)[0] == incident("new").incident_id


def test_a_cursor_belongs_to_its_filter(api: ApiClient, archive: Archive) -> None:
    archive.add(*(row_of(incident(f"n{n}", n)) for n in range(3)))
    cursor = api.json("/api/v3/incidents", limit=1, status="open")["next_cursor"]
    assert len(api.json("/api/v3/incidents", status="open", cursor=cursor)["items"]) == 2
    assert "same filters" in api.problem(422, "/api/v3/incidents", cursor=cursor)["detail"]


@pytest.mark.parametrize("cursor", ["x", "####", "bnVsbA", "W10", "WzEsMiwzLDRd", "é", "W" * 1000, "\x00"])
def test_a_made_up_cursor_is_refused(api: ApiClient, cursor: str) -> None:
    assert "query.cursor" in api.problem(422, "/api/v3/incidents", cursor=cursor)["detail"]


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 501}, {"limit": "many"}, {"status": "odd"}, {"severity": 1}]
)
def test_a_wrong_parameter_is_refused(api: ApiClient, params: dict[str, Any]) -> None:
    errors = api.problem(422, "/api/v3/incidents", **params)["errors"]
    assert errors[0]["where"].startswith(f"query.{next(iter(params))}")


def test_one_incident_leads_to_its_raw_events(api: ApiClient, archive: Archive) -> None:
    log, value = line(1, "Failed password für root 🚢", meta={"pid": 7}), sample(2, 97.5, labels={"core": "0"})
    on_log = both(1, tracking_id=log.tracking_id, evidence_ids=(log.tracking_id,))
    on_value = both(2, tracking_id=value.tracking_id, evidence_ids=(value.tracking_id,))
    lost = both(3, device_id="gone")[0]
    whole = incident("a", 5, 2, evidence=(evidence_of(on_log[0]), evidence_of(on_value[0]), evidence_of(lost)))
    archive.add(
        *(row_of(each) for each in (log, log, value, *on_log, on_value[0], incident("a", 4, 1), whole, whole)),
        row_of(insight("a", 6, 1)),
        row_of(insight("a", 8, 2)),
        row_of(insight("other", 9, 1)),
    )
    body = api.json(f"/api/v3/incidents/{whole.incident_id}")
    published = whole.to_dict()
    assert {key: body[key] for key in published} == {**published, "narrative": "What it means, version 2."}
    assert [(each["revision"], each["event"]) for each in body["revisions"]] == [(2, "updated"), (1, "created")]
    assert [each["version"] for each in body["insights"]] == [2, 1]
    assert body["evidence_resolved"] == [
        {
            "ref": on_log[0].anomaly_id,
            "tracking_id": log.tracking_id,
            "anomaly": on_log[1].to_dict(),
            "log": log.to_dict(),
            "sample": None,
        },
        {
            "ref": on_value[0].anomaly_id,
            "tracking_id": value.tracking_id,
            "anomaly": on_value[0].to_dict(),
            "log": None,
            "sample": value.to_dict(),
        },
        {"ref": lost.anomaly_id, "tracking_id": lost.tracking_id, "anomaly": None, "log": None, "sample": None},
    ]


def test_without_an_insight_the_incident_keeps_its_own_narrative(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(incident("a", 1, narrative="as published")))
    body = api.json(f"/api/v3/incidents/{incident('a').incident_id}")
    assert body["narrative"] == "as published"
    assert body["insights"] == body["evidence_resolved"] == []


@pytest.mark.parametrize("name", ["none", "0" * 36, "ü", "%00", "a' OR 1=1 --"])
def test_an_incident_that_is_not_there_is_not_found(api: ApiClient, archive: Archive, name: str) -> None:
    archive.add(row_of(incident("a", 1)))
    problem = api.problem(404, f"/api/v3/incidents/{name}")
    assert "no incident has this id" in problem["detail"]
