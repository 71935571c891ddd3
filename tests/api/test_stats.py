"""Counts: each incident once, each record once, in the window that was asked for."""

from typing import Any

import pytest

from schemas.base import Severity
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import both, held, incident, row_of
from tests.support.make import at

HOUR = 3600.0


def text(seconds: float) -> str:
    return at(seconds).isoformat()


def test_an_empty_archive_counts_nothing(api: ApiClient) -> None:
    stats = api.json("/api/v3/stats")
    assert stats == {
        "window": "24h",
        "from": "2026-02-28T01:00:00Z",
        "to": "2026-03-01T01:00:00.000001Z",
        "total": 0,
        "open": 0,
        "ack": 0,
        "resolved": 0,
        "suppressed": 0,
        "by_severity": {"critical": 0, "high": 0, "medium": 0, "low": 0},
        "by_domain": {"comms": 0, "app": 0, "net": 0, "security": 0, "system": 0},
    }
    assert api.json("/api/v3/stats/type") == {"by_type": []}
    assert api.json("/api/v3/stats/duplicates") == {"duplicates": 0, "ratio": 0.0, "top": []}


def test_an_incident_counts_once_by_its_latest_revision(api: ApiClient, archive: Archive) -> None:
    revisions = [
        incident("a", 10, 1, severity=Severity.LOW),
        incident("a", 20, 2, severity=Severity.CRITICAL),
        incident("a", 30, 3, severity=Severity.CRITICAL, status="resolved", resolved_at=at(30)),
        incident("b", 10, 1, domain="net", incident_type="link_down", status="ack"),
        incident("c", 10, 1, domain="net", incident_type="link_down", severity=Severity.MEDIUM),
    ]
    # The latest revision first: it counts by its number, not by when it was written.
    for revision in reversed(revisions):
        archive.add(row_of(revision))
    stats = api.json("/api/v3/stats")
    assert [stats[key] for key in ("total", "open", "ack", "resolved", "suppressed")] == [3, 1, 1, 1, 0]
    assert stats["by_severity"] == {"critical": 1, "high": 1, "medium": 1, "low": 0}
    assert stats["by_domain"] == {"comms": 0, "app": 0, "net": 2, "security": 0, "system": 1}
    assert api.json("/api/v3/stats/severity")["by_severity"] == [
        {"severity": "critical", "count": 1, "open": 0},
        {"severity": "high", "count": 1, "open": 1},
        {"severity": "medium", "count": 1, "open": 1},
        {"severity": "low", "count": 0, "open": 0},
    ]
    assert api.json("/api/v3/stats/type")["by_type"] == [
        {"type": "link_down", "count": 2, "critical": 0, "high": 1, "medium": 1, "low": 0},
        {"type": "resource_pressure", "count": 1, "critical": 1, "high": 0, "medium": 0, "low": 0},
    ]


def test_a_row_written_twice_counts_once_and_the_first_publication_wins(api: ApiClient, archive: Archive) -> None:
    first = incident("a", 10, severity=Severity.HIGH)
    again = incident("a", 10, severity=Severity.LOW)
    archive.add(row_of(again, 99))
    archive.add(row_of(first, 10))
    archive.add(row_of(first, 10))
    assert archive.count("incidents") == 3
    stats = api.json("/api/v3/stats")
    assert stats["total"] == 1
    assert stats["by_severity"]["high"] == 1
    (item,) = api.json("/api/v3/incidents")["items"]
    assert item["severity"] == "high"


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"window": "1h"}, {"recent", "lasting"}),
        ({"window": "24h"}, {"recent", "lasting", "morning"}),
        ({"window": "7d"}, {"recent", "lasting", "morning", "last week"}),
        ({}, {"recent", "lasting", "morning"}),
        ({"from": text(-9 * HOUR), "to": text(-7 * HOUR)}, {"lasting", "morning"}),
        ({"from": text(-100 * HOUR)}, {"recent", "lasting", "morning", "last week"}),
        ({"from": "2026-03-01T01:30:00+01:00", "to": "2026-03-01T01:40:00+01:00"}, {"lasting", "recent"}),
        ({"from": text(-100 * 24 * HOUR), "to": text(-99 * 24 * HOUR)}, set()),
    ],
)
def test_a_window_has_what_was_opened_before_its_end_and_was_changed_in_it_or_goes_on(
    api: ApiClient, archive: Archive, params: dict[str, str], names: set[str]
) -> None:
    over: dict[str, Any] = {"status": "resolved"}
    archive.add(
        row_of(incident("recent", 1800, opened_at=at(1800), domain="net", **over)),
        row_of(incident("lasting", -80 * HOUR, opened_at=at(-80 * HOUR), domain="app")),
        row_of(incident("morning", -8 * HOUR, opened_at=at(-8 * HOUR), domain="comms", **over)),
        row_of(incident("last week", -80 * HOUR, opened_at=at(-81 * HOUR), domain="security", **over)),
    )
    domains = {"recent": "net", "lasting": "app", "morning": "comms", "last week": "security"}
    stats = api.json("/api/v3/stats", **params)
    assert {name for name, domain in domains.items() if stats["by_domain"][domain]} == names
    assert stats["total"] == len(names)


def test_stats_of_one_ship_and_domain(api: ApiClient, archive: Archive) -> None:
    archive.add(
        row_of(incident("a", 1, domain="net")),
        row_of(incident("b", 1, domain="app")),
        row_of(incident("c", 1, domain="net", ship_id="борей ⚓")),
    )
    assert api.json("/api/v3/stats", ship="aurora")["total"] == 2
    assert api.json("/api/v3/stats", domain="net")["total"] == 2
    assert api.json("/api/v3/stats", ship="борей ⚓", domain="net")["total"] == 1
    assert api.json("/api/v3/stats", ship="борей ⚓", domain="app")["total"] == 0


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"window": "2h"}, "query.window"),
        ({"window": "1h", "from": text(0)}, "exclude each other"),
        ({"to": text(0)}, "query.from: missing"),
        ({"from": "2026-03-01T00:00:00"}, "time zone missing"),
        ({"from": text(10), "to": text(0)}, "expected before query.to"),
        ({"from": "0001-01-01T00:00:00Z"}, "between the years"),
        ({"from": "yesterday"}, "query.from"),
        ({"domain": "engine"}, "query.domain"),
        ({"ship": ""}, "query.ship"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_was_expected(api: ApiClient, params: dict[str, str], says: str) -> None:
    assert says in api.problem(422, "/api/v3/stats", **params)["detail"]


def test_duplicates_count_once_each_and_are_a_share_of_what_fired(api: ApiClient, archive: Archive) -> None:
    found = [both(10 * n, device_id=f"srv-{n}") for n in range(1, 5)]
    archive.add(*(row_of(stage) for pair in found for stage in pair))
    records = [
        held("1", 10, anomaly_id=found[0][0].anomaly_id, incident_id="i-1"),
        held("2", 20, anomaly_id=found[1][0].anomaly_id, incident_id="i-2"),
        held("3", 30, fingerprint="other", anomaly_id=found[2][0].anomaly_id),
        held("4", 40, "silence"),
    ]
    archive.add(*map(row_of, records))
    archive.add(*map(row_of, records))
    stats = api.json("/api/v3/stats/duplicates")
    assert stats["duplicates"] == 3
    assert stats["ratio"] == 0.75
    assert [(each["fingerprint"], each["count"], each["incident_id"]) for each in stats["top"]] == [
        ("aurora/srv-1/node/cpu_pct|threshold|", 2, "i-2"),
        ("other", 1, None),
    ]
    assert stats["top"][0]["last_at"] == "2026-03-01T00:00:20Z"
    assert len(api.json("/api/v3/stats/duplicates", top=1)["top"]) == 1
    assert api.json("/api/v3/stats/duplicates", domain="system")["duplicates"] == 3
    assert api.json("/api/v3/stats/duplicates", domain="net") == {"duplicates": 0, "ratio": 0.0, "top": []}


def test_suppressions_by_kind_leave_duplicates_out(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(incident("known", 5, domain="net")))
    known: dict[str, Any] = {"incident_id": incident("known").incident_id}
    archive.add(
        row_of(held("1", 10, "maintenance", suppress_key="k", **known)),
        row_of(held("2", 20, "maintenance", suppress_key="k", reason="тест 船", **known)),
        row_of(held("3", 30, "inhibited")),
        row_of(held("4", 40, "duplicate")),
        row_of(held("5", -100 * HOUR, "silence")),
    )
    stats = api.json("/api/v3/stats/suppressions")
    assert stats["suppressed"] == 3
    assert stats["by_kind"] == {"suppressed": 0, "maintenance": 2, "silence": 0, "inhibited": 1, "storm": 0}
    assert stats["top"][0] == {
        "ship_id": "aurora",
        "kind": "maintenance",
        "key": "k",
        "by": "dry dock",
        "reason": "тест 船",
        "count": 2,
        "last_at": "2026-03-01T00:00:20Z",
        "until": "2026-03-01T00:10:20Z",
    }
    assert api.json("/api/v3/stats/suppressions", domain="net")["suppressed"] == 2
    assert api.json("/api/v3/stats/suppressions", window="7d")["by_kind"]["silence"] == 1
