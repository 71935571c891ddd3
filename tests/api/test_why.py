"""Why did I, or did I not, hear about this: of incidents, findings, events, silences; and ids cut short."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from operators.clickhouse import Row
from operators.clickhouse.rows import audit_row, device_row
from schemas.identity import content_uuid
from schemas.incident import TimelineEntry
from schemas.ops import AuditEvent, Device
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import arrival, both, evidence_of, held, incident, row_of
from tests.api.test_hostile import CORPUS
from tests.support.make import anomaly, at, line, sample

SILENCE = "5117e0ce-0000-4000-8000-000000000001"


def text(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def audit(seconds: float, action: str, outcome: str = "applied", **fields: Any) -> Row:
    known: dict[str, Any] = {
        "tracking_id": content_uuid("command", action, str(seconds)),
        "ship_id": "aurora",
        "audit_id": content_uuid("audit", action, str(seconds)),
        "ts": at(seconds),
        "command_id": content_uuid("id", action, str(seconds)),
        "action": action,
        "by": "ana",
        "outcome": outcome,
        "reason": "dry dock",
    }
    event = AuditEvent.model_validate({**known, **fields})
    return audit_row(event, arrival(seconds), event.to_json().decode())


def silence_made(seconds: float = 0, hours: float = 2) -> Row:
    until = at(seconds + hours * 3600)
    return audit(seconds, "silence", silence_id=SILENCE, command_id=SILENCE, until=until)


def of(api: ApiClient, any_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = api.json(f"/api/v3/why/{any_id}")
    times = [datetime.fromisoformat(entry["at"]) for entry in answer["entries"]]
    assert times == sorted(times)
    return answer


def said(answer: dict[str, Any]) -> list[str]:
    return [entry["text"] for entry in answer["entries"]]


def test_an_open_incident_was_told_and_names_the_next_step(api: ApiClient, archive: Archive) -> None:
    story = incident("a", 5, timeline=(TimelineEntry(at=at(5), event="created", by="watchkeeper", reason="cpu is 97"),))
    archive.add(row_of(story, 6), row_of(story, 6))
    archive.add(*(row_of(held(str(n), 10 + n, by=story.incident_id, incident_id=story.incident_id)) for n in range(3)))
    archive.add(row_of(held("0", 10, by=story.incident_id, incident_id=story.incident_id)))
    answer = of(api, story.incident_id)
    assert (answer["kind"], answer["told"], answer["ship_id"]) == ("incident", True, "aurora")
    assert answer["answer"] == "You were told at 2026-03-01 00:00:06 UTC: Resource pressure on srv-1 is open (high)"
    assert answer["action"] == f"watchkeeper ack {story.incident_id}"
    assert answer["entries"] == [
        {
            "at": text(5),
            "last_at": None,
            "count": 1,
            "what": "created",
            "by": "watchkeeper",
            "until": None,
            "text": "Opened: cpu is 97",
            "action": None,
        },
        {
            "at": text(10),
            "last_at": text(12),
            "count": 3,
            "what": "duplicate",
            "by": story.incident_id,
            "until": text(612),
            "text": "Not told again: duplicate for a test",
            "action": None,
        },
    ]


def test_a_symptom_names_its_cause_and_the_cause_its_symptom(api: ApiClient, archive: Archive) -> None:
    cause = incident("cause", 1, title="Link degradation on vsat-1")
    because = "explained by Link degradation: srv-app-1 depends on vsat-1"
    muted = TimelineEntry(at=at(2), event="suppressed", by="watchkeeper", reason=because)
    symptom = incident(
        "symptom", 2, status="suppressed", inhibited_by=cause.incident_id, title="Slow booking", timeline=(muted,)
    )
    record = held("s", 2, "inhibited", by=cause.incident_id, incident_id=symptom.incident_id, reason=because)
    archive.add(row_of(cause), row_of(symptom), row_of(record))
    answer = of(api, symptom.incident_id)
    assert not answer["told"]
    assert answer["answer"] == f"You were not told: Slow booking is suppressed: {because}"
    assert answer["action"] == f"watchkeeper why {cause.incident_id}"
    assert said(answer) == [f"Held back as a symptom: {because}"]
    seen = of(api, cause.incident_id)
    assert seen["told"]
    (mutes,) = [entry for entry in seen["entries"] if entry["what"] == "mutes"]
    assert mutes["text"] == "It holds back Slow booking, its symptom"
    assert mutes["action"] == f"watchkeeper why {symptom.incident_id}"


def test_a_symptom_whose_record_is_gone_still_names_its_cause(api: ApiClient, archive: Archive) -> None:
    cause = incident("cause", 1)
    symptom = incident("symptom", 2, status="suppressed", inhibited_by=cause.incident_id)
    archive.add(row_of(cause), row_of(symptom))
    answer = of(api, symptom.incident_id)
    assert answer["action"] == f"watchkeeper why {cause.incident_id}"
    assert [entry["by"] for entry in answer["entries"]] == ["correlate", cause.incident_id]


def test_what_no_longer_is_a_symptom_is_not_called_one(api: ApiClient, archive: Archive) -> None:
    cause = incident("cause", 1)
    archive.add(row_of(cause))
    archive.add(row_of(incident("symptom", 2, status="suppressed", inhibited_by=cause.incident_id)))
    archive.add(row_of(incident("symptom", 9, 2, status="open", inhibited_by=None)))
    assert "mutes" not in [entry["what"] for entry in of(api, cause.incident_id)["entries"]]
    assert of(api, incident("symptom").incident_id)["told"]


def test_a_merged_incident_leads_to_where_it_went(api: ApiClient, archive: Archive) -> None:
    kept, gone = incident("kept", 1), incident("gone", 2)
    merged = incident("gone", 3, 2, status="resolved", resolved_at=at(3), merged_into=kept.incident_id)
    archive.add(row_of(kept), row_of(gone), row_of(merged))
    answer = of(api, gone.incident_id)
    assert answer["told"]
    assert answer["action"] == f"watchkeeper why {kept.incident_id}"
    assert "goes on in another incident" in answer["answer"]
    assert [entry["by"] for entry in of(api, kept.incident_id)["entries"] if entry["what"] == "merged"] == [
        gone.incident_id
    ]


def test_an_incident_names_the_one_before_it(api: ApiClient, archive: Archive) -> None:
    first = incident("first", 1, status="resolved", resolved_at=at(1))
    second = incident("second", 2, successor_of=first.incident_id)
    archive.add(row_of(first), row_of(second))
    (link,) = [each for each in of(api, second.incident_id)["entries"] if each["what"] == "successor"]
    assert (link["by"], link["action"]) == (first.incident_id, f"watchkeeper why {first.incident_id}")


def test_commands_that_did_nothing_are_named_and_applied_ones_are_on_the_timeline(
    api: ApiClient, archive: Archive
) -> None:
    done = (
        TimelineEntry(at=at(1), event="created", by="watchkeeper", reason="x"),
        TimelineEntry(at=at(1.5), event="acknowledged", by="ana", reason="acknowledged"),
        TimelineEntry(at=at(2), event="resolved", by="ana", reason="cable replaced"),
    )
    story = incident("a", 2, 2, status="resolved", resolved_at=at(2), timeline=done)
    archive.add(row_of(incident("a", 1)), row_of(story))
    archive.add(audit(2, "resolve", incident_id=story.incident_id, reason="cable replaced"))
    archive.add(audit(3, "ack", "refused", incident_id=story.incident_id, reason="it is resolved", by="ben"))
    answer = of(api, story.incident_id)
    assert said(answer) == [
        "Opened: x",
        "Acknowledged by ana",
        "Resolved by ana: cable replaced",
        "ben's ack was refused: it is resolved",
    ]
    assert answer["answer"].endswith("it was resolved at 2026-03-01 00:00:02 UTC")


def test_a_finding_held_back_by_a_silence(api: ApiClient, archive: Archive) -> None:
    found, enriched = both(60)
    record = held(
        "1", 60, "silence", by=SILENCE, anomaly_id=found.anomaly_id, until=at(7200), reason="silenced by ana: dry dock"
    )
    archive.add(row_of(found), row_of(enriched), row_of(record))
    for any_id in (found.anomaly_id, found.tracking_id):
        answer = of(api, any_id)
        assert not answer["told"]
        assert answer["answer"] == "You were not told: silenced by ana: dry dock"
        assert answer["action"] == f"watchkeeper unsilence {SILENCE}"
        assert said(answer) == [
            "Found by threshold: cpu_pct is 95",
            "Held back by a silence: silenced by ana: dry dock",
        ]
        assert answer["entries"][1]["until"] == text(7200)
    assert (of(api, found.anomaly_id)["kind"], of(api, found.tracking_id)["kind"]) == ("anomaly", "event")


def test_a_silence_that_is_over_is_not_offered_to_be_ended(api: ApiClient, archive: Archive) -> None:
    found = anomaly(60)
    archive.add(row_of(found), row_of(held("1", 60, "silence", by=SILENCE, anomaly_id=found.anomaly_id, until=at(90))))
    assert of(api, found.anomaly_id)["action"] is None


def test_evidence_leads_to_its_incident(api: ApiClient, archive: Archive) -> None:
    value = sample(5, 97.0)
    found = anomaly(6, evidence_ids=(value.tracking_id,))
    story = incident("a", 7, evidence=(evidence_of(found),))
    archive.add(row_of(value), row_of(found), row_of(story))
    answer = of(api, value.tracking_id)
    assert answer["told"]
    assert said(answer) == [
        "Arrived as a sample of cpu_pct of srv-1/node",
        "Found by threshold: cpu_pct is 95",
        "Evidence of Resource pressure on srv-1, which is open now",
    ]
    assert answer["action"] == f"watchkeeper ack {story.incident_id}"


def test_a_finding_in_a_suppressed_incident_says_what_holds_that_back(api: ApiClient, archive: Archive) -> None:
    found = anomaly(6)
    story = incident("a", 7, status="suppressed", evidence=(evidence_of(found),))
    window = held("w", 7, "maintenance", by="dry dock", incident_id=story.incident_id, reason="window dry dock")
    archive.add(row_of(found), row_of(story), row_of(window))
    answer = of(api, found.anomaly_id)
    assert not answer["told"]
    assert answer["answer"].endswith("is suppressed: window dry dock")
    assert answer["entries"][-1]["action"].startswith("see the window in correlate.yaml")
    window_answer = of(api, "dry dock")
    assert window_answer["answer"] == "This window has held back 1 so far and no longer holds"


def test_findings_that_lead_nowhere_say_why(api: ApiClient, archive: Archive) -> None:
    alone, over, dull = anomaly(1), anomaly(2, state="cleared"), line(3, "all is well")
    archive.add(row_of(alone), row_of(over), row_of(dull))
    assert "too few findings" in of(api, alone.anomaly_id)["answer"]
    assert "opens no incident" in of(api, over.anomaly_id)["answer"]
    answer = of(api, dull.tracking_id)
    assert answer["answer"] == "You were not told: no detector found it out of the ordinary"
    assert said(answer) == ["Arrived as a log line of gw-1/sshd"]


def test_a_silence_says_what_it_has_held_back_and_until_when(api: ApiClient, archive: Archive) -> None:
    made = audit(0, "silence", command_id=SILENCE, until=at(7200), reason="silence by ana: dry dock")
    archive.add(made)
    archive.add(*(row_of(held(str(n), 10 + n, "silence", by=SILENCE, until=at(7200))) for n in range(4)))
    answer = of(api, SILENCE)
    assert answer["kind"] == "silence"
    assert answer["answer"] == "This silence has held back 4 so far and holds until 2026-03-01 02:00:00 UTC"
    assert answer["action"] == f"watchkeeper unsilence {SILENCE}"
    assert said(answer) == ["ana's silence: dry dock", "Held back by a silence: silence for a test"]
    assert answer["entries"][0]["until"] == text(7200)
    archive.add(audit(30, "unsilence", silence_id=SILENCE))
    ended = of(api, SILENCE)
    assert ended["answer"].endswith("has held back 4 so far and no longer holds")
    assert ended["action"] is None


def test_a_silence_whose_end_is_not_recorded_is_not_said_to_be_over(api: ApiClient, archive: Archive) -> None:
    archive.add(audit(0, "silence", command_id=SILENCE))
    answer = of(api, SILENCE)
    assert answer["answer"] == "This silence has held back 0 so far and holds until a time that is not recorded"
    assert answer["action"] == f"watchkeeper unsilence {SILENCE}"


def test_a_command_can_be_asked_for(api: ApiClient, archive: Archive) -> None:
    archive.add(audit(1, "ack", "refused", command_id="c0ffee00-1", reason="no such incident"))
    answer = of(api, "c0ffee00-1")
    assert (answer["kind"], answer["answer"]) == ("command", "The ack of ana was refused: no such incident")


def test_an_incident_that_only_suppressions_name(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(held("1", 1, by="gone-incident", incident_id="gone-incident")))
    answer = of(api, "gone-incident")
    assert "not stored" in answer["answer"]
    assert answer["kind"] == "incident"


def test_other_ships_and_other_incidents_are_not_mixed_in(api: ApiClient, archive: Archive) -> None:
    story, other = incident("a", 1), incident("b", 1)
    archive.add(row_of(story), row_of(other), row_of(held("1", 2, incident_id=other.incident_id)))
    archive.add(audit(3, "ack", "refused", incident_id=other.incident_id))
    assert [entry["what"] for entry in of(api, story.incident_id)["entries"]] == ["created"]


def test_more_causes_than_are_shown_are_counted(api: ApiClient, archive: Archive) -> None:
    story = incident("a", 1)
    records = [held(str(n), n, "silence", by=f"s-{n:03}", incident_id=story.incident_id) for n in range(103)]
    archive.add(row_of(story), *map(row_of, records))
    answer = of(api, story.incident_id)
    assert answer["left_out"] == 3
    assert sum(entry["what"] == "silence" for entry in answer["entries"]) == 100
    assert "s-000" not in {entry["by"] for entry in answer["entries"]}


def test_nothing_known_is_404_with_the_next_step(api: ApiClient, archive: Archive) -> None:
    problem = api.problem(404, "/api/v3/why/ffffffff-0000-8000-8000-000000000001")
    assert "GET /api/v3/incidents" in problem["detail"]
    api.problem(422, "/api/v3/why/abc")


def test_a_beginning_will_do_when_it_is_the_only_one(api: ApiClient, archive: Archive) -> None:
    one = incident("a", 1, incident_id="abcd1111-0000-8000-8000-000000000001")
    two = incident("b", 2, incident_id="abcd2222-0000-8000-8000-000000000002")
    archive.add(row_of(one), row_of(incident("b", 2, incident_id=two.incident_id)), row_of(two), silence_made())
    assert of(api, "abcd1")["id"] == one.incident_id
    assert of(api, "ABCD2")["id"] == two.incident_id
    assert of(api, SILENCE[:8])["id"] == SILENCE
    detail = api.problem(409, "/api/v3/why/abcd")["detail"]
    assert one.incident_id in detail
    assert two.incident_id in detail
    found = api.json("/api/v3/ids/abcd")
    assert [item["id"] for item in found["items"]] == [two.incident_id, one.incident_id]
    assert found["items"][0] == {
        "kind": "incident",
        "id": two.incident_id,
        "ship_id": "aurora",
        "status": "open",
        "title": "Resource pressure on srv-1",
    }
    assert api.json("/api/v3/ids/abcd", limit=1)["more"]
    assert api.json("/api/v3/ids/abcd", ship="borealis")["items"] == []
    assert api.json("/api/v3/ids/abcd", kind="silence")["items"] == []
    assert [item["kind"] for item in api.json(f"/api/v3/ids/{SILENCE[:6]}")["items"]] == ["silence"]


def test_an_anomaly_or_command_is_known_by_its_beginning_too(api: ApiClient, archive: Archive) -> None:
    found, enriched = both(1)
    refused = audit(2, "ack", "refused", command_id="c0ffee00-0000-8000-8000-000000000001", reason="not there")
    archive.add(row_of(found), row_of(enriched), refused)
    assert (of(api, found.anomaly_id[:8])["kind"], of(api, "c0ffee00")["kind"]) == ("anomaly", "command")
    (item,) = api.json(f"/api/v3/ids/{found.anomaly_id[:8]}", kind="anomaly")["items"]
    assert (item["id"], item["status"], item["title"]) == (found.anomaly_id, "firing", found.msg)


@pytest.mark.parametrize("hostile", [text for text in CORPUS if 4 <= len(text) <= 256 and "/" not in text])
def test_hostile_ids_are_only_looked_for(api: ApiClient, archive: Archive, hostile: str) -> None:
    archive.add(row_of(incident("a", 1)), silence_made())
    for path in ("why", "ids"):
        response = api.get(f"/api/v3/{path}/{quote(hostile, safe='')}")
        assert response.status_code in (200, 404, 422), response.text
        if path == "ids" and response.status_code == 200:
            assert response.json()["items"] == []
    assert archive.count("incidents") == 1


def test_the_inventory_has_the_last_word_on_each_device(api: ApiClient, archive: Archive) -> None:
    def device(device_id: str, seconds: float, **fields: Any) -> Row:
        return device_row(Device(ship_id="aurora", device_id=device_id, **fields), arrival(seconds))

    archive.add(device("rtr-1", 1, model="old"), device("vsat-1", 1, location="mast"), device("gone", 1))
    archive.add(device("rtr-1", 2, model="new", depends_on=("vsat-1",)), device("gone", 2, removed=True))
    found = api.json("/api/v3/devices")
    assert [(each["device_id"], each["model"], each["depends_on"]) for each in found["items"]] == [
        ("rtr-1", "new", ["vsat-1"]),
        ("vsat-1", "", []),
    ]
    assert not found["more"]
    assert api.json("/api/v3/devices", limit=1)["more"]
    assert api.json("/api/v3/devices", ship="borealis")["items"] == []
