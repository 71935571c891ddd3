"""The stats count what was published, each incident once."""

import pytest

from tests.e2e.test_fast_path import attack, of_device
from tests.support.nats import until
from tests.support.system import Ship

pytestmark = pytest.mark.e2e


def test_stats_count_each_incident_once_whatever_its_revisions(ship: Ship) -> None:
    before = ship.get("/api/v3/stats")
    ship.publish(*attack("gw-stats-1", 12), *attack("gw-stats-2", 3))
    until(lambda: of_device(ship, "gw-stats-1") and of_device(ship, "gw-stats-2"), seconds=10, what="two incidents")
    after = ship.get("/api/v3/stats")
    assert after["total"] == before["total"] + 2
    assert after["open"] == before["open"] + 2
    assert after["by_severity"]["high"] == before["by_severity"]["high"] + 2
    assert sum(after["by_severity"].values()) == after["total"]


def test_the_breakdowns_agree_with_the_total(ship: Ship) -> None:
    ship.publish(*attack("gw-stats-3"))
    until(lambda: of_device(ship, "gw-stats-3"), seconds=10, what="an incident")
    total = ship.get("/api/v3/stats")["total"]
    assert sum(row["count"] for row in ship.get("/api/v3/stats/severity")["by_severity"]) == total
    by_type = ship.get("/api/v3/stats/type")["by_type"]
    assert sum(row["count"] for row in by_type) == total
    for row in by_type:
        assert row["count"] == sum(row[severity] for severity in ("critical", "high", "medium", "low"))


def test_duplicates_are_counted(ship: Ship) -> None:
    (_, line), *_ = attack("gw-dup", 1)
    ship.publish(*[("logs.ingested.security.sshd", {**line, "tracking_id": None}) for _ in range(5)])
    until(lambda: of_device(ship, "gw-dup"), seconds=10, what="an incident")
    stats = until(
        lambda: found if (found := ship.get("/api/v3/stats/duplicates"))["duplicates"] else None,
        seconds=10,
        what="duplicates",
    )
    assert 0 < stats["ratio"] <= 1
    assert ship.get("/api/v3/stats/suppressions")["by_kind"] is not None
