"""The silences in force, as the archive knows them."""

from datetime import datetime
from typing import Any

from operators.clickhouse import Row
from operators.clickhouse.rows import audit_row, suppression_row
from schemas.incident import SuppressionRecord
from schemas.ops import AuditEvent
from tests.api.client import ApiClient
from tests.api.conftest import NOW, Archive
from tests.api.story import arrival, held, row_of
from tests.api.test_why import SILENCE, audit
from tests.support.make import at
from tests.support.ship import Ship, clears, fires

HOUR = 3600.0


def made(name: str, seconds: float = 0, hours: float = 2, **fields: Any) -> Row:
    until = at(seconds + hours * HOUR)
    known = {"matchers": {"device_id": "vsat-1"}, "until": until, "reason": "silence by ana: dry dock"}
    return audit(seconds, "silence", silence_id=name, command_id=name, **{"audit_id": f"a-{name}", **known, **fields})


def ended(name: str, seconds: float, **fields: Any) -> Row:
    return audit(seconds, "unsilence", silence_id=name, audit_id=f"e-{name}-{seconds}", **fields)


def ids(api: ApiClient, **parameters: Any) -> list[str]:
    return [each["silence_id"] for each in api.json("/api/v3/silences", **parameters)["items"]]


def test_without_any_the_list_is_empty(api: ApiClient, archive: Archive) -> None:
    assert api.json("/api/v3/silences") == {"items": [], "more": False}


def test_a_silence_says_what_whose_why_until_when_and_what_it_held_back(api: ApiClient, archive: Archive) -> None:
    records = [held(str(n), 60 + n, "silence", by=SILENCE, incident_id=f"i-{n}") for n in range(3)]
    others = [held("o", 5000, "silence", by="other"), held("m", 70, "maintenance", by=SILENCE)]
    archive.add(made(SILENCE), *map(row_of, (*records, *others)))
    archive.add(made(SILENCE), row_of(records[0]))
    assert api.json("/api/v3/silences") == {
        "items": [
            {
                "silence_id": SILENCE,
                "ship_id": "aurora",
                "matchers": {"device_id": "vsat-1"},
                "owner": "ana",
                "reason": "dry dock",
                "created_at": "2026-03-01T00:00:00Z",
                "expires_at": "2026-03-01T02:00:00Z",
                "hits": 3,
                "last_hit_at": "2026-03-01T00:01:02Z",
            }
        ],
        "more": False,
    }


def test_what_is_over_or_ended_or_was_refused_is_left_out(api: ApiClient, archive: Archive) -> None:
    archive.add(made("lasts"), made("over", hours=1), made("ended"), ended("ended", 60))
    archive.add(made("refused", outcome="refused", until=None, matchers=None))
    archive.add(made("unended"), ended("unended", 70, outcome="refused"))
    assert at(HOUR) == NOW, "the second ends at this very instant"
    assert ids(api) == ["lasts", "unended"]


def test_the_first_to_end_comes_first_and_ships_are_apart(api: ApiClient, archive: Archive) -> None:
    archive.add(made("long", hours=9), made("short", hours=2), made("other", hours=3, ship_id="borealis"))
    archive.add(ended("long", 90, ship_id="borealis"))
    assert ids(api) == ["short", "other", "long"]
    assert ids(api, ship="aurora") == ["short", "long"]
    assert ids(api, ship="borealis") == ["other"]
    assert api.json("/api/v3/silences", limit=2)["more"]
    assert ids(api, limit=2) == ["short", "other"]
    api.problem(422, "/api/v3/silences", limit=1001)


def test_what_is_not_recorded_is_said_to_be_so_as_why_does(api: ApiClient, archive: Archive) -> None:
    archive.add(made(SILENCE, until=None, matchers=None, reason="dry dock"))
    (item,) = api.json("/api/v3/silences")["items"]
    assert (item["matchers"], item["expires_at"], item["reason"]) == ({}, None, "dry dock")
    assert "not recorded" in api.json(f"/api/v3/why/{SILENCE}")["answer"]


def test_the_list_is_what_the_vessel_flow_knows(api: ApiClient, archive: Archive) -> None:
    """A ship's story, archived as published: the list agrees with the correlator's own silences and with why."""
    ship = Ship()
    for n, device in enumerate(("srv-1", "srv-2", "srv-3", "srv-4")):
        args = {"matchers": {"device_id": device}, "duration_s": 7200 if n < 3 else 1800}
        ship.command(n, "silence", command_id=f"silence-{n}", args=args, reason="dock", by="ana")
    ship.command(5, "silence", args={"matchers": {"device_id": "*"}, "duration_s": 60}, reason="dock")
    for n in range(3):
        ship.take(fires(100 * n + 10, "srv-1", "resource_pressure", series=f"s{n}"))
        ship.take(clears(100 * n + 11, "srv-1", "resource_pressure", series=f"s{n}")).until(100 * n + 100)
    ship.take(fires(400, "srv-2", "resource_pressure"), fires(401, "srv-4", "resource_pressure"))
    ship.command(
        410, "silence", command_id="late", args={"matchers": {"service": "node"}, "duration_s": 7200}, reason="x"
    )
    ship.command(420, "unsilence", args={"silence_id": "silence-2"})
    ship.restart().until(HOUR)
    for n, message in enumerate(ship.said):
        place = arrival((getattr(message, "ts", None) or at(0)).timestamp() - at(0).timestamp(), n)
        if isinstance(message, AuditEvent):
            archive.add(audit_row(message, place, message.to_json().decode()))
        elif isinstance(message, SuppressionRecord):
            archive.add(suppression_row(message, place, message.to_json().decode()))
    own = ship.correlator._desk.muting.silences
    listed = {each["silence_id"]: each for each in api.json("/api/v3/silences")["items"]}
    assert set(listed) == {each.silence_id for each in own.all()} == {"silence-0", "silence-1", "late"}
    for each in own.all():
        told = listed[each.silence_id]
        assert (told["matchers"], told["owner"], told["reason"]) == (each.matchers.given, each.owner, each.reason)
        assert datetime.fromisoformat(told["expires_at"]) == each.expires_at
        assert told["hits"] == each.hits
        assert (told["last_hit_at"] and datetime.fromisoformat(told["last_hit_at"])) == each.last_hit_at
        assert f"has held back {each.hits} so far" in api.json(f"/api/v3/why/{each.silence_id}")["answer"]
    assert listed["silence-0"]["hits"] >= 1
