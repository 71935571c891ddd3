"""Commands: done once, answered always."""

from datetime import timedelta
from typing import Any

import pytest

from operators.correlate.operator import CorrelateSlot
from operators.correlate.ship import ShipCorrelator
from operators.decode import DecodeLimits, Decoder, Refused
from operators.enrich.saved import load_event, save_event
from policy import load_policy
from schemas.event import Event
from schemas.ops import AuditEvent, OpsCommand, OpsTick
from tests.support.make import at, raw
from tests.support.ship import POLICY, Ship, changed, clears, fires


def opened(seconds: float = 0) -> tuple[Ship, str]:
    ship = Ship().take(fires(seconds, "srv-1", "resource_pressure"))
    return ship, ship.incidents[0].incident_id


def test_ack_assign_comment_and_resolve_are_revisions_that_say_who_and_why() -> None:
    ship, incident_id = opened()
    assert ship.command(1, "ack", incident_id).outcome == "applied"
    assert ship.command(2, "assign", incident_id, args={"assignee": "eva"}).outcome == "applied"
    assert ship.command(3, "comment", incident_id, args={"text": "fan replaced"}).outcome == "applied"
    assert ship.command(4, "resolve", incident_id, reason="fixed").outcome == "applied"
    assert ship.events(incident_id) == ["created", "acknowledged", "assigned", "commented", "resolved"]
    last = ship.now[incident_id]
    assert (last.status, last.assignee, last.resolved_at, last.revision) == ("resolved", "eva", at(4), 5)
    assert [(each.event, each.by, each.reason) for each in last.timeline[1:]] == [
        ("acknowledged", "chief", "acknowledged"),
        ("assigned", "chief", "assigned to eva"),
        ("commented", "chief", "fan replaced"),
        ("resolved", "chief", "fixed"),
    ]


def test_an_acknowledged_incident_stays_so_until_it_resolves() -> None:
    ship, incident_id = opened()
    ship.command(1, "ack", incident_id)
    ship.take(fires(20, "srv-1", "resource_pressure", series="aurora/srv-1/node/mem")).until(60)
    assert ship.now[incident_id].status == "ack"
    ship.take(clears(70, "srv-1", "resource_pressure"))
    ship.take(clears(71, "srv-1", "resource_pressure", series="aurora/srv-1/node/mem")).until(400)
    assert ship.now[incident_id].status == "resolved"


def test_a_command_counts_once() -> None:
    ship, incident_id = opened()
    ship.command(1, "comment", incident_id, command_id="same", args={"text": "hello"})
    again = ship.command(2, "comment", incident_id, command_id="same", args={"text": "hello"})
    assert again.outcome == "unchanged"
    assert ship.events(incident_id) == ["created", "commented"]
    again = ship.restart().command(3, "comment", incident_id, command_id="same", args={"text": "hello"})
    assert again.outcome == "unchanged"


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        ("comment", {"args": {"text": "goodbye"}}),
        ("comment", {"by": "eva"}),
        ("comment", {"reason": "why not"}),
        ("resolve", {}),
    ],
)
def test_the_id_of_another_command_is_refused(action: str, changes: dict[str, Any]) -> None:
    ship, incident_id = opened()
    ship.command(1, "comment", incident_id, command_id="same", args={"text": "hello"})
    answer = ship.restart().command(
        2, action, incident_id, **{"command_id": "same", "args": {"text": "hello"}, **changes}
    )
    assert (answer.outcome, answer.reason.partition(" (")[0]) == (
        "refused",
        "command id same was used for another command",
    )
    assert ship.events(incident_id) == ["created", "commented"]


def test_commands_of_a_snapshot_without_digests_are_known() -> None:
    ship, incident_id = opened()
    ship.command(1, "comment", incident_id, command_id="same", args={"text": "hello"})
    saved = ship.correlator.snapshot()
    saved["commands"]["done"] = [each[:3] for each in saved["commands"]["done"]]
    ship.correlator = ShipCorrelator("aurora", POLICY)
    ship.correlator.restore(saved)
    assert ship.command(2, "comment", incident_id, command_id="same", args={"text": "other"}).outcome == "unchanged"


@pytest.mark.parametrize("by", ["watchkeeper", "WatchKeeper", " watchkeeper ", " ", "\t"])
def test_a_command_that_no_person_answers_for_is_refused(by: str) -> None:
    ship, incident_id = opened()
    answer = ship.command(1, "comment", incident_id, by=by, args={"text": "all is well"})
    assert (answer.outcome, "name of the person" in answer.reason) == ("refused", True)
    assert ship.events(incident_id) == ["created"]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"action": "explode", "by": "eva"}, "action: "),
        ({"action": "unknown", "by": "eva"}, "action: "),
        ({"action": "ack"}, "by: "),
        ({"action": "ack", "by": None}, "by: "),
        ({"action": ["ack"], "by": "eva", "incident_id": 5}, "action: "),
        ({"action": "comment", "by": "eva", "args": "hello"}, "args: "),
    ],
)
def test_a_command_that_cannot_be_read_is_answered_if_its_id_can(item: dict[str, Any], says: str) -> None:
    decoder = Decoder("aurora", DecodeLimits(1_000_000, 100, timedelta(0)))
    raw_command = raw(7, "ops.command", {"command_id": "c7", **item})
    command, letter = decoder.decode(raw_command)
    assert isinstance(letter, Refused)
    assert isinstance(command, Event)
    assert load_event(save_event(command)) == command
    ship, _ = opened()
    assert isinstance(command.body, OpsCommand)
    (decision,) = ship.correlator.apply(command.body, at(7))
    answer = decision.message
    assert isinstance(answer, AuditEvent)
    assert (answer.command_id, answer.outcome, answer.reason) == ("c7", "refused", letter.letter.reason)
    assert answer.reason.startswith(says)
    good = ship.command(8, "comment", ship.incidents[0].incident_id, command_id="c7", args={"text": "now right"})
    assert good.outcome == "applied"


def test_nobody_can_send_an_error() -> None:
    decoder = Decoder("aurora", DecodeLimits(1_000_000, 100, timedelta(0)))
    sent = {"command_id": "c", "action": "ack", "by": "eva", "error_msg": "boo"}
    (command,) = decoder.decode(raw(7, "ops.command", sent))
    assert isinstance(command, Event)
    assert isinstance(command.body, OpsCommand)
    assert command.body.error_msg is None


def test_a_command_without_an_id_is_a_dead_letter_alone() -> None:
    decoder = Decoder("aurora", DecodeLimits(1_000_000, 100, timedelta(0)))
    for sent in ({"action": "ack", "by": "eva"}, {"command_id": "x" * 257, "action": "ack"}, "[1]"):
        (letter,) = decoder.decode(raw(7, "ops.command", sent))
        assert isinstance(letter, Refused)


@pytest.mark.parametrize(
    ("action", "args", "says"),
    [
        ("ack", {}, "no incident nowhere is open or recently resolved"),
        ("assign", {}, "no incident"),
        ("comment", {}, "no incident"),
        ("resolve", {}, "no incident"),
        ("reopen", {}, "no incident"),
        ("silence", {"matchers": {"device_id": "srv-1"}}, "expires_at"),
        ("silence", {"duration_s": 60}, "matchers"),
        ("silence", {"matchers": {"device_id": "*"}, "duration_s": 60}, "whole ship"),
        ("unsilence", {"silence_id": "none"}, "no silence none"),
        ("unsilence", {}, "args.silence_id"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(action: str, args: dict[str, object], says: str) -> None:
    ship, _ = opened()
    answer = ship.command(1, action, "nowhere", args=args, reason="because")
    assert answer.outcome == "refused"
    assert says in answer.reason
    assert len(ship.incidents) == 1


def test_a_silence_without_owner_or_reason_is_refused() -> None:
    ship, _ = opened()
    args = {"matchers": {"device_id": "srv-1"}, "duration_s": 60}
    assert "reason" in ship.command(1, "silence", args=args).reason


def test_asking_for_what_is_so_changes_nothing() -> None:
    ship, incident_id = opened()
    ship.command(1, "ack", incident_id)
    assert ship.command(2, "ack", incident_id).outcome == "unchanged"
    assert ship.command(3, "reopen", incident_id).outcome == "unchanged"
    ship.command(4, "resolve", incident_id)
    assert ship.command(5, "resolve", incident_id).outcome == "unchanged"
    assert ship.command(6, "ack", incident_id).outcome == "refused"
    assert ship.command(7, "reopen", incident_id, reason="not yet").outcome == "applied"
    assert ship.now[incident_id].status == "open"


def test_a_silence_holds_back_until_it_ends_and_then_it_is_told() -> None:
    ship, incident_id = opened()
    args = {"matchers": {"device_id": "srv-1"}, "duration_s": 600}
    assert ship.command(10, "silence", args=args, reason="backup").outcome == "applied"
    assert ship.now[incident_id].status == "suppressed"
    ship.take(fires(20, "srv-1", "app_degradation")).until(100)
    assert [each.status for each in ship.now.values()] == ["suppressed", "suppressed"]
    assert {(each.kind, each.by, each.until) for each in ship.records} == {("silence", "c1", at(610))}
    assert ship.now[incident_id].timeline[-1].reason == "silenced by chief: backup"
    ship.take(clears(200, "srv-1", "app_degradation")).until(611)
    assert ship.events(incident_id) == ["created", "suppressed", "surfaced"]
    assert [each.status for each in ship.now.values()] == ["open", "resolved"]


def test_the_answer_names_the_silence_and_its_end() -> None:
    ship, _ = opened()
    args = {"matchers": {"device_id": "srv-1"}, "duration_s": 600}
    made = ship.command(10, "silence", command_id="s", args=args, reason="x")
    assert (made.silence_id, made.until) == ("s", at(610))
    ended = ship.command(20, "unsilence", args={"silence_id": "s"})
    assert (ended.silence_id, ended.until) == ("s", None)


def test_unsilence_ends_it_at_once() -> None:
    ship, incident_id = opened()
    ship.command(
        10, "silence", command_id="s", args={"matchers": {"device_id": "srv-1"}, "duration_s": 600}, reason="x"
    )
    assert ship.restart().command(20, "unsilence", args={"silence_id": "s"}).outcome == "applied"
    assert ship.now[incident_id].status == "open"


def test_an_incident_that_grows_beyond_its_silence_is_told() -> None:
    ship = Ship()
    ship.command(0, "silence", args={"matchers": {"service": "sshd"}, "duration_s": 600}, reason="x")
    ship.take(fires(1, "srv-1", "resource_pressure", service="sshd"))
    assert len(ship.by_status("suppressed")) == 1
    ship.take(fires(2, "srv-1", "resource_pressure", service="mail", series="other"))
    assert len(ship.by_status("open")) == 1


def test_a_silence_counts_what_it_muted_and_leaves_the_table_when_it_ends() -> None:
    ship, _ = opened()
    args = {"matchers": {"device_id": "srv-*"}, "duration_s": 600}
    ship.command(10, "silence", args=args, reason="x")
    ship.take(fires(20, "srv-2", "resource_pressure"), fires(30, "other", "resource_pressure"))
    silences = ship.restart().correlator._desk.muting.silences
    assert [(each.hits, each.last_hit_at) for each in silences.all()] == [(2, at(20))]
    ship.until(609)
    assert len(silences) == 1
    ship.until(610)
    assert len(silences) == 0


def test_ended_silences_make_room_for_new_ones() -> None:
    limits = POLICY.maintenance.silences.model_copy(update={"max_active": 2})
    maintenance = POLICY.maintenance.model_copy(update={"silences": limits})
    ship = Ship(POLICY.model_copy(update={"maintenance": maintenance}))
    args = {"matchers": {"device_id": "a"}, "duration_s": 60}
    told = [ship.command(second, "silence", args=args, reason="x").outcome for second in (0, 1, 2, 70)]
    assert told == ["applied", "applied", "refused", "applied"]


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("unsilence", {"silence_id": 5}),
        ("unsilence", {"silence_id": {"a": "b"}}),
        ("assign", {"assignee": ["eva"]}),
        ("comment", {"text": {"a": 1}}),
        ("silence", {"matchers": [], "duration_s": "long"}),
        ("silence", {"matchers": {"device_id": "a"}, "expires_at": "9999-12-31T23:59:59-14:00"}),
        ("silence", {"matchers": {"device_id": "a"}, "duration_s": float("nan")}),
    ],
)
def test_nonsense_is_refused_and_stops_nothing(action: str, args: dict[str, object]) -> None:
    ship, incident_id = opened()
    assert ship.command(1, action, incident_id, args=args, reason="x").outcome == "refused"


def test_endless_words_are_cut() -> None:
    ship, incident_id = opened()
    words = "x" * 1_000_000
    for action in ("ack", "comment", "resolve", "reopen", "silence"):
        answer = ship.command(1, action, incident_id, reason=words, args={"assignee": words})
        assert len(answer.model_dump_json()) < 10_000
    assert ship.command(2, "ack", words).outcome == "refused"
    assert len(ship.said[-1].model_dump_json()) < 10_000
    assert len(ship.now[incident_id].model_dump_json()) < 20_000


def test_a_command_is_forgotten_after_seven_days_and_then_so_is_a_ship_never_heard_of() -> None:
    slot = CorrelateSlot(load_policy(None))
    command = OpsCommand(command_id="c", ship_id="nowhere", action="ack", incident_id="i", by="chief")
    (answer,) = slot.process(Event((1, 0), at(0), command))
    assert isinstance(answer.message, AuditEvent)
    assert (answer.message.outcome, answer.message.ship_id) == ("refused", "nowhere")
    week = 7 * 86_400
    for second, known in ((week - 1, ["nowhere"]), (week, [])):
        list(slot.process(Event((second, 0), at(second), OpsTick(ship_id="aurora"))))
        assert list(slot.ships) == known


def test_what_a_person_reopens_stays_open_until_a_person_or_a_clearing_ends_it() -> None:
    ship, incident_id = opened()
    ship.take(clears(1, "srv-1", "resource_pressure")).until(500)
    ship.command(600, "reopen", incident_id)
    assert ship.restart().until(9000).now[incident_id].status == "open"
    ship.take(fires(9000, "srv-1", "resource_pressure"), clears(9001, "srv-1", "resource_pressure")).until(9200)
    assert ship.now[incident_id].status == "resolved"


def test_what_a_person_reopened_and_silenced_comes_back() -> None:
    ship, incident_id = opened()
    ship.take(clears(1, "srv-1", "resource_pressure")).until(500)
    ship.command(600, "reopen", incident_id)
    ship.command(601, "silence", args={"matchers": {"device_id": "srv-1"}, "duration_s": 60}, reason="x")
    assert ship.until(660).now[incident_id].status == "suppressed"
    assert ship.until(661).now[incident_id].status == "open"


def test_an_acknowledged_incident_that_is_silenced_comes_back_acknowledged() -> None:
    ship, incident_id = opened()
    ship.command(1, "ack", incident_id)
    ship.command(2, "silence", args={"matchers": {"device_id": "srv-1"}, "duration_s": 60}, reason="x")
    assert ship.until(70).now[incident_id].status == "ack"
    assert ship.events(incident_id) == ["created", "acknowledged", "suppressed", "surfaced"]


@pytest.mark.parametrize(
    "matchers", [{"rule": "cpu_*"}, {"metric_name": "cpu_pct"}, {"rule": "cpu_high", "service": "*"}]
)
def test_a_silence_may_name_a_rule_or_a_metric(matchers: dict[str, str]) -> None:
    ship, incident_id = opened()
    ship.take(fires(1, "srv-2", "resource_pressure", rule="disk_high", metric_name="disk_pct"))
    ship.command(2, "silence", args={"matchers": matchers, "duration_s": 600}, reason="backup")
    assert [each.incident_id for each in ship.by_status("suppressed")] == [incident_id]
    ship.restart().take(fires(3, "srv-3", "resource_pressure"))
    assert len(ship.by_status("suppressed")) == 2
    ship.take(fires(4, "srv-1", "resource_pressure", rule="disk_high", metric_name="disk_pct", series="disk"))
    assert ship.events(incident_id)[-1] == "surfaced", "it is about more now"


def test_what_an_incident_is_about_outlives_a_restart() -> None:
    ship, incident_id = opened()
    ship.restart().command(2, "silence", args={"matchers": {"rule": "cpu_*"}, "duration_s": 600}, reason="backup")
    assert ship.now[incident_id].status == "suppressed"


def test_what_one_takes_over_counts_for_silences_too() -> None:
    types = dict(POLICY.correlate.incident_types)
    types["resource_pressure"] = types["resource_pressure"].model_copy(update={"max_age_s": 600})
    ship = Ship(changed(incident_types=types)).take(fires(0, "srv-1", "resource_pressure", rule="disk_high"))
    ship.take(fires(700, "srv-1", "resource_pressure", series="cpu"))
    ship.command(710, "silence", args={"matchers": {"rule": "cpu_high"}, "duration_s": 600}, reason="x")
    assert len(ship.by_status("open")) == 1, "what fired in the one before fires in its successor"


def test_an_incident_about_more_than_is_kept_is_matched_by_device_and_no_more_by_rule() -> None:
    ship = Ship(changed(max_evidence=4))
    ship.take(*(fires(n, "srv-1", "resource_pressure", rule=f"cpu_{n}", series=f"s{n}") for n in range(6)))
    for matchers, count in (({"rule": "cpu_*"}, 0), ({"device_id": "srv-1"}, 1)):
        ship.command(10, "silence", args={"matchers": matchers, "duration_s": 600}, reason="x")
        assert len(ship.by_status("suppressed")) == count


def test_a_silence_of_one_member_does_not_hide_the_storm() -> None:
    storm = POLICY.correlate.storm.model_copy(update={"opened": 5, "within_s": 60, "calm_s": 120})
    ship = Ship(changed(storm=storm)).take(*(fires(n, f"d{n}", "equipment_fault") for n in range(6)))
    ship.command(10, "silence", args={"matchers": {"device_id": "d0"}, "duration_s": 600}, reason="x")
    assert [each.incident_type for each in ship.by_status("open")] == ["incident_storm"]
