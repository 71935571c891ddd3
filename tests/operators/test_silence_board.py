"""The board of all ships' silences: what is told, as what, in which order, and across a restart."""

import pickle
import random
from typing import Any

import pytest

from operators.detect.operator import SilenceLogic
from operators.detect.silence_board import Change, Quiet, SilenceBoard, SilenceNote
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.base import Domain
from schemas.event import Event
from schemas.identity import content_uuid
from tests.support.make import anomaly, at, tick

POLICY = load_policy(None)
Item = Event | SilenceNote


def note(second: float, kind: Change, device: str, metric: str, ship: str = "aurora", **quiet: Any) -> SilenceNote:
    series = f"{ship}/{device}/node/{metric}"
    known: dict[str, Any] = {
        "device_id": device,
        "domain": "system",
        "service": "node",
        "metric_name": metric,
        "tracking_id": content_uuid(series),
        "since": at(second - 70).timestamp(),
        "score": 0.5,
        "msg": "silent since then: usually a sample every 5 s, 60 s would still be usual",
    }
    return SilenceNote((int(second * 1000), 0), at(second), kind, ship, series, Quiet(**{**known, **quiet}))


def fleet(devices: int = 4, metrics: int = 3, ship: str = "aurora") -> list[tuple[str, str]]:
    return [(f"{ship}-d{device}", f"m{metric}") for device in range(devices) for metric in range(metrics)]


def all_of(second: float, kind: Change, fleet: list[tuple[str, str]], ship: str = "aurora") -> list[SilenceNote]:
    return [note(second, kind, *series, ship) for series in fleet]


def said(board: SilenceBoard, *items: Item) -> list[AnomalyDetected]:
    out = [event for item in items for event in board.process(item)]
    return [event.body for event in out if isinstance(event.body, AnomalyDetected)]


def board_of(*series: list[tuple[str, str]]) -> SilenceBoard:
    board = SilenceBoard(POLICY, round_s=64)
    assert said(board, *(each for group in series for each in all_of(0, "watched", group))) == []
    return board


def test_one_series_is_told_with_its_own_words() -> None:
    board = board_of(fleet())
    silent = note(100, "silent", "aurora-d0", "m1", score=0.625)
    assert said(board, silent, tick(193.9)) == []
    (found,) = said(board, tick(194))
    assert (found.state, found.anomaly_type, found.detector, found.score) == ("firing", "stale", "stale", 0.625)
    assert (found.series, found.metric_name) == ("aurora/aurora-d0/node/m1", "m1")
    assert (found.device_id, found.service, found.domain) == ("aurora-d0", "node", "system")
    assert (found.since, found.observed_at, found.pos) == (at(30), at(194), (194_000, -1))
    assert found.msg.startswith("m1 of aurora-d0/node: silent since then: usually a sample every 5 s")
    assert found.tracking_id == silent.quiet.tracking_id
    (end,) = said(board, note(300, "heard", "aurora-d0", "m1", tracking_id=content_uuid("back")))
    assert (end.state, end.source, end.score) == ("cleared", found.source, 0.0)
    assert end.tracking_id == content_uuid("back")
    assert "heard again, after 270 s (since 2026-03-01 00:00:30 UTC)" in end.msg


def test_a_device_is_one_finding_naming_its_series() -> None:
    board = board_of(fleet(metrics=5))
    device = [series for series in fleet(metrics=5) if series[0] == "aurora-d2"]
    notes = all_of(100, "silent", device[:4])
    notes += [note(160, "silent", *device[4], since=at(95).timestamp(), score=0.7)]
    (found,) = said(board, *notes, tick(194))
    assert (found.series, found.device_id, found.service) == ("aurora/aurora-d2", "aurora-d2", "*")
    assert found.metric_name is None
    assert (found.score, found.count, len(found.evidence_ids)) == (0.7, 5, 5)
    assert found.since == at(95)
    assert found.msg == (
        "device aurora-d2 is silent: 5 of 5 series, none of them since 2026-03-01 00:01:35 UTC "
        "(m0, m1, m2 and 2 more); the last one, m4: silent since then: "
        "usually a sample every 5 s, 60 s would still be usual"
    )


def test_a_ship_is_one_finding_of_at_most_a_hundred_ids() -> None:
    many = fleet(40, 30)
    board = board_of(many)
    (found,) = said(board, *all_of(100, "silent", many), tick(194), tick(300), tick(4000))
    assert (found.series, found.device_id, found.service, found.count) == ("aurora", "*", "*", 1200)
    assert len(found.evidence_ids) == 100
    assert found.severity_hint == "high"
    ends = said(board, *all_of(5000, "heard", many), tick(5094), tick(6000))
    assert [(end.series, end.state) for end in ends] == [("aurora", "cleared")]


def test_the_domain_is_that_of_most_silent_series() -> None:
    board = board_of(fleet(1, 3))
    domains: tuple[Domain, ...] = ("net", "comms", "comms")
    notes = [note(100, "silent", "aurora-d0", f"m{n}", domain=domain) for n, domain in enumerate(domains)]
    assert [found.domain for found in said(board, *notes, tick(194))] == ["comms"]


def test_ships_are_told_apart_and_all_by_any_tick() -> None:
    board = board_of(fleet())
    said(board, *all_of(0, "watched", fleet(ship="borea"), "borea"))
    found = said(
        board,
        *all_of(100, "silent", fleet()),
        *all_of(100, "silent", fleet(ship="borea"), "borea"),
        tick(194),
    )
    assert [(each.ship_id, each.series) for each in found] == [("aurora", "aurora"), ("borea", "borea")]


def test_what_ends_before_it_is_told_is_never_told() -> None:
    board = board_of(fleet())
    assert said(board, *all_of(100, "silent", fleet()), *all_of(120, "heard", fleet()), tick(194), tick(500)) == []


def test_a_ship_whose_series_are_all_forgotten_leaves_nothing_behind() -> None:
    board = board_of(fleet())
    said(board, *all_of(100, "silent", fleet()), tick(194))
    ends = said(board, *all_of(700, "forgotten", fleet()))
    assert [(end.series, end.state) for end in ends] == [("aurora", "cleared")]
    assert board.snapshot() == {"v": 1, "ships": {}}


def test_everything_else_passes_and_what_is_told_comes_before_its_tick() -> None:
    logic = SilenceLogic(board_of(fleet()), FlowMetrics("test"))
    first = Event((1, 0), at(0), anomaly(0))
    out, _ = logic.on_batch([tick(194), note(100, "silent", "aurora-d0", "m0"), tick(100), first])
    bodies = [event.body for event in out]
    assert [type(body).__name__ for body in bodies] == ["AnomalyDetected", "OpsTick", "AnomalyDetected", "OpsTick"]
    assert isinstance(bodies[2], AnomalyDetected)
    assert bodies[2].anomaly_type == "stale"


def test_a_note_of_a_tick_counts_before_that_tick_whatever_the_order_of_arrival() -> None:
    items: list[Item] = [
        note(100, "silent", "aurora-d0", "m0"),
        tick(194)._replace(pos=(194_000, 0)),
        note(194, "heard", "aurora-d0", "m0"),
    ]
    for seed in range(6):
        random.Random(seed).shuffle(items)
        logic = SilenceLogic(board_of(fleet()), FlowMetrics("test"))
        out, _ = logic.on_batch(items)
        assert len(list(out)) == 1, items


def story() -> list[Item]:
    draw = random.Random(3)
    silent: set[tuple[str, str]] = set()
    out: list[Item] = [*all_of(0, "watched", fleet())]
    for second in range(10, 3000, 10):
        for series in fleet():
            if draw.random() < (0.02 if second % 1000 < 700 else 0.2) and series not in silent:
                silent.add(series)
                out.append(note(second, "silent", *series))
            elif draw.random() < 0.05 and series in silent:
                silent.discard(series)
                out.append(note(second, "heard", *series))
        out.append(tick(second + 1))
    return out


def test_nothing_is_told_twice_and_resuming_equals_never_stopping() -> None:
    items = story()
    expected = said(board_of(), *items)
    assert len(expected) > 20
    scopes = {found.series.count("/") for found in expected}
    assert scopes == {0, 1, 3}
    firing: set[str] = set()
    for found in expected:
        assert (found.source in firing) == (found.state == "cleared")
        firing ^= {found.source}
    for cut in range(0, len(items), 37):
        first, second = board_of(), board_of()
        before = said(first, *items[:cut])
        second.restore(pickle.loads(pickle.dumps(first.snapshot())))
        assert before + said(second, *items[cut:]) == expected, cut


def test_its_state_does_not_grow_with_the_series() -> None:
    few, many = board_of(fleet(20, 2)), board_of(fleet(20, 200))
    assert len(pickle.dumps(many.snapshot())) - len(pickle.dumps(few.snapshot())) <= 40


def test_a_snapshot_is_not_live_state_and_another_version_is_refused() -> None:
    board = board_of(fleet())
    saved = board.snapshot()
    said(board, *all_of(100, "silent", fleet()), tick(194))
    assert saved != board.snapshot()
    fresh = SilenceBoard(POLICY)
    fresh.restore(saved)
    assert fresh.snapshot() == saved
    with pytest.raises(ValueError, match="silence: snapshot version 99, expected 1"):
        SilenceBoard(POLICY).restore({**saved, "v": 99})
