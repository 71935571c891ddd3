"""What holds of correlate whatever comes: anomalies, commands, devices, ticks and restarts in any order."""

import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.correlate.incident_state import IncidentState
from operators.correlate.operator import CorrelateLogic, CorrelateSlot
from operators.correlate.ship import ShipCorrelator
from operators.observability import FlowMetrics
from policy import Policy
from policy.correlate import InhibitPolicy, InhibitRule, StormPolicy
from policy.maintenance import MaintenanceWindow, SubjectMatch
from schemas.anomaly import AnomalyEnriched
from schemas.base import Severity
from schemas.event import Event
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.insight import EnrichmentRequest
from schemas.ops import AuditEvent, Device, OpsCommand, OpsTick
from tests.support.make import at, enriched
from tests.support.ship import POLICY, changed, for_all

CAP = 5
CAUSES = ("comms_outage", "network_issue", "app_degradation")
TYPES = (*CAUSES, "auth_attack", "resource_pressure")
DEVICES = tuple("abcd")
ACTIONS = ("ack", "assign", "comment", "resolve", "reopen", "silence", "unsilence")

LEGAL: dict[str, set[tuple[str | None, str]]] = {
    "created": {(None, "open"), (None, "suppressed")},
    "updated": {(status, status) for status in ("open", "ack", "suppressed")},
    "escalated": {(status, status) for status in ("open", "ack", "suppressed")},
    "acknowledged": {("open", "ack"), ("suppressed", "suppressed")},
    "assigned": {(status, status) for status in ("open", "ack", "suppressed")},
    "commented": {(status, status) for status in ("open", "ack", "suppressed", "resolved")},
    "resolved": {(status, "resolved") for status in ("open", "ack", "suppressed")},
    "reopened": {("resolved", "open"), ("resolved", "suppressed")},
    "suppressed": {("open", "suppressed"), ("ack", "suppressed")},
    "surfaced": {("suppressed", "open"), ("suppressed", "ack"), ("open", "open"), ("ack", "ack")},
    "merged": {(a, b) for a in ("open", "ack", "suppressed") for b in ("open", "ack", "suppressed", "resolved")},
}
"""Event → from which status to which (a merge has said what a surfacing then repeats)."""


def hectic() -> Policy:
    """Everything short and small, so that a few minutes see all of it; causes that explain each other in circles."""
    short: dict[str, Any] = {"window_s": 60, "hold_s": 20, "max_age_s": 240, "keys": ("device_id",)}
    types = dict(POLICY.correlate.incident_types)
    for name in TYPES:
        types[name] = types[name].model_copy(update={**short, "min_events": 2 if name == "resource_pressure" else 1})
    types["auth_attack"] = types["auth_attack"].model_copy(update={"min_events": 2, "bridge": ("fields.rhost",)})
    types["network_issue"] = types["network_issue"].model_copy(update={"bridge": ("fields.rhost",)})
    rules = (InhibitRule(cause=CAUSES, symptom=CAUSES), InhibitRule(cause=("comms_outage",), symptom=("auth_attack",)))
    inhibit = InhibitPolicy(rules=rules, look_back_s=60, lag_s=10, surface_s=30)
    storm = StormPolicy(opened=3, within_s=20, calm_s=40)
    limits: dict[str, Any] = {"max_open_incidents": CAP, "max_evidence": 4, "max_timeline": 5, "forget_s": 900.0}
    times: dict[str, Any] = {"dedup_ttl_s": 30, "suppression_ttl_s": 100, "update_throttle_s": 10}
    policy = changed(incident_types=types, inhibit=inhibit, storm=storm, **limits, **times)
    window = MaintenanceWindow(
        match=SubjectMatch(device_id="d"),
        rrule="FREQ=DAILY;BYHOUR=0;BYMINUTE=1,6,11,16",
        start=datetime(2026, 3, 1, 0, 1),  # noqa: DTZ001 - a local time
        duration_s=60,
        owner="eva",
        reason="backup",
    )
    maintenance = policy.maintenance.model_copy(update={"windows": {"backup": window}})
    return policy.model_copy(update={"maintenance": maintenance})


HECTIC = for_all(hectic())

Story = list[tuple[float, dict[str, Any], str]]


def story_of(seed: int, length: int) -> Story:
    """Steps by dice: seconds since the last, what comes, on which ship. (Drawn one by one they stay too tame.)"""
    dice = Random(seed)
    busy = dice.choice([0.2, 0.5, 0.9])
    out: Story = []
    for _ in range(length):
        pause = dice.choice([0.0, 0.5, 1.0, 3.0]) if dice.random() < busy else dice.choice([5.0, 20.0, 45.0, 130.0])
        kind = dice.choices(["fire", "clear", "command", "device", "tick"], [10, 5, 4, 2, 1])[0]
        out.append((pause, STEPS[kind](dice) | {"kind": kind}, dice.choice(["aurora", "aurora", "borealis"])))
    return out


def _finding(dice: Random) -> dict[str, Any]:
    return {
        "device": dice.choice(DEVICES),
        "type": dice.choice(TYPES),
        "series": dice.randrange(2),
        "severity": dice.choice(list(Severity)),
        "rhost": dice.choice([None, None, "10.0.0.1", "10.0.0.2"]),
        "log": dice.random() < 0.5,
    }


def _command(dice: Random) -> dict[str, Any]:
    return {
        "action": dice.choice(ACTIONS),
        "which": dice.randrange(50),
        "again": dice.random() < 0.1,
        "device": dice.choice(DEVICES),
        "args": dice.choice([*[None] * 8, {"silence_id": 5}, {"assignee": ["x"]}, {"matchers": 1}]),
    }


def _device(dice: Random) -> dict[str, Any]:
    on = tuple(dice.sample(DEVICES, dice.randrange(3)))
    return {"device": dice.choice(DEVICES), "on": on, "removed": dice.random() < 0.2}


STEPS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "fire": _finding,
    "clear": _finding,
    "command": _command,
    "device": _device,
    "tick": lambda _: {},
}
stories = st.builds(story_of, st.integers(0, 2**32), st.integers(10, 120))


def event_of(place: int, second: float, what: dict[str, Any], ship_id: str, ids: list[str]) -> Event:
    """A step of a story as an event; a command speaks of an incident that there was by then."""
    body: Any
    if what["kind"] == "tick":
        body = OpsTick(ship_id="aurora")
    elif what["kind"] == "device":
        body = Device(ship_id=ship_id, device_id=what["device"], depends_on=what["on"], removed=what["removed"])
    elif what["kind"] == "command":
        made = {
            "assign": {"assignee": "eva"},
            "comment": {"text": "hm"},
            "silence": {"matchers": {"device_id": what["device"]}, "duration_s": 60},
            "unsilence": {"silence_id": f"c{what['which'] % max(1, place)}"},
        }
        body = OpsCommand(
            command_id=f"c{place - 1 if what['again'] else place}",
            ship_id=ship_id,
            action=what["action"],
            incident_id=ids[what["which"] % len(ids)] if ids else "none",
            by="chief",
            reason="because",
            args=made.get(what["action"], {}) if what["args"] is None else what["args"],
        )
    else:
        series = f"{ship_id}/{what['device']}/x/{'log:' if what['log'] else ''}{what['type']}{what['series']}"
        body = enriched(
            second,
            what["severity"],
            ship_id=ship_id,
            device_id=what["device"],
            incident_type=what["type"],
            series=series,
            anomaly_type="log_pattern" if what["log"] else "metric_threshold",
            state="cleared" if what["kind"] == "clear" else "firing",
            fields={"rhost": what["rhost"]} if what["rhost"] else {},
            pos=(place, 0),
            anomaly_id=f"a{place}",
        )
    return Event((place, 0), at(second), body)


class Watched:
    """A slot that is asked after each event whether everything is as it must be."""

    def __init__(self) -> None:
        self.slot = CorrelateSlot(HECTIC)
        self.said: list[Any] = []
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.statuses: dict[str, str] = {}
        self.revisions: Counter[str] = Counter()
        self.records: set[str] = set()
        self.counted: dict[str, int] = {}

    def take(self, event: Event) -> None:
        waiting, total = self._waiting(), sum(self.counted.values())
        said = [decision.message for decision in self.slot.process(event)]
        self.said += said
        for message in said:
            self._check_message(message)
        for ship in self.slot.ships.values():
            self._check_ship(ship)
        self._check_counts(event, waiting, total)
        if isinstance(event.body, OpsCommand):
            answers = [each for each in said if isinstance(each, AuditEvent)]
            assert [each.command_id for each in answers] == [event.body.command_id]
            assert said[-1] is answers[0]
        else:
            assert not any(isinstance(each, AuditEvent) for each in said)

    def _check_message(self, message: Any) -> None:
        if isinstance(message, IncidentPublished):
            name = message.incident_id
            if name not in self.statuses:
                self.ids[message.ship_id].append(name)
            self.revisions[name] += 1
            assert message.revision == self.revisions[name]
            step = (self.statuses.get(name), message.status)
            assert step in LEGAL[message.event], (message.event, step)
            self.statuses[name] = message.status
            assert (message.status == "resolved") == (message.resolved_at is not None)
            assert len(message.timeline) <= 5
            if message.event != "updated":
                last = message.timeline[-1]
                assert (last.event, last.at) == (message.event, message.updated_at), (
                    "who did it and why is told with it"
                )
                assert last.by in ("watchkeeper", "chief")
                assert last.reason
            assert max(len(message.evidence), len(message.scope), len(message.impact)) <= 4
        elif isinstance(message, SuppressionRecord):
            assert message.record_id not in self.records
            self.records.add(message.record_id)
            assert message.until > message.ts
        elif isinstance(message, EnrichmentRequest):
            assert self.statuses[message.incident_id] in ("open", "ack")

    def _check_ship(self, ship: ShipCorrelator) -> None:
        board = ship._desk.board
        for state in board:
            self._check_state(ship, state)
        assert board.active_count <= CAP + 3, "what a storm, a successor or a reopening adds"
        assert len(board) - board.active_count <= CAP
        assert len(ship._waiting) <= CAP
        assert len(ship._desk.former) <= CAP

    def _check_state(self, ship: ShipCorrelator, state: IncidentState) -> None:
        status = state.incident.status
        assert self.statuses[state.id] == status, "no change of status goes untold"
        if status == "suppressed":
            assert state.mutes or state.cleared_at is not None
        else:
            assert not state.mutes
        if state.active and state.cleared_at is not None:
            assert not state.firing
        assert not ship._desk.muting.rests_on(state, state), "nothing explains itself"
        for source in state.firing:
            assert state in ship._desk.board.fired_by(source)
        for mute in state.mutes.values():
            assert state in ship._desk.board.held_by(mute.by)
        for key in state.keys:
            assert ship._desk.board.of_key(key) is state

    def _waiting(self) -> int:
        return sum(len(pending) for ship in self.slot.ships.values() for pending in ship._waiting._by_key.values())

    def _check_counts(self, event: Event, waiting: int, total: int) -> None:
        """What comes in waits, is in an incident, or falls out of its window: none is counted twice or not at all."""
        for ship in self.slot.ships.values():
            for state in ship._desk.board:
                if state.incident.incident_type != "incident_storm":
                    self.counted[state.id] = 0 if state.incident.merged_into else state.incident.anomaly_count
        body = event.body
        joined = sum(self.counted.values()) - total
        if not isinstance(body, AnomalyEnriched) or body.state == "cleared":
            assert joined == 0
            return
        assert 0 <= joined <= waiting + 1 - self._waiting()
        ship = self.slot.ships[body.ship_id]
        waits = [each for pending in ship._waiting._by_key.values() for each in pending.in_order()]
        assert body in waits or any(state.heard_at == event.at for state in ship._desk.board.fired_by(body.source))


def told(story: Story) -> tuple[Watched, list[Event]]:
    """The story as it happens, watched, and its events."""
    watched, events, second = Watched(), [], 0.0
    for place, (pause, what, ship_id) in enumerate(story, 1):
        second += pause
        events.append(event_of(place, second, what, ship_id, watched.ids[ship_id]))
        watched.take(events[-1])
    return watched, events


def logic(resume: Any = None) -> CorrelateLogic:
    slot = CorrelateSlot(HECTIC)
    if resume is not None:
        slot.restore(pickle.loads(pickle.dumps(resume)))
    return CorrelateLogic(slot, FlowMetrics("test"))


def in_batches(events: list[Event], sizes: list[int]) -> Iterator[list[Event]]:
    rest, turn = events, 0
    while rest:
        size = sizes[turn % len(sizes)]
        yield rest[:size]
        rest, turn = rest[size:], turn + 1


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(stories)
def test_whatever_comes_everything_is_told_once_in_order_and_nothing_is_left_in_the_end(story: Story) -> None:
    watched, events = told(story)
    place, end = len(events), events[-1].at + timedelta(days=9)
    for name, body in [(each, event.body) for event in events for each in ("aurora", "borealis")]:
        if isinstance(body, Device) and body.ship_id == name:
            place += 1
            gone = body.model_copy(update={"removed": True})
            watched.take(Event((place, 0), events[-1].at, gone))
    for n in range(3):
        watched.take(Event((place + 1 + n, 0), end + timedelta(hours=n), OpsTick(ship_id="aurora")))
    assert watched.slot.ships == {}
    assert set(watched.statuses.values()) <= {"resolved"}


@quick
@given(stories)
def test_nothing_is_left_in_any_index(story: Story) -> None:
    watched, events = told(story)
    for ship in list(watched.slot.ships.values()):
        list(ship.advance(events[-1].at + timedelta(days=9)))
        board = ship._desk.board
        indexes = (
            board._by_id,
            board._by_key,
            board._by_link,
            board._on_device,
            board._by_source,
            board._held_by,
            board._filed,
        )
        waiting, watch = ship._waiting, ship._desk.storms._watch
        assert not any([*indexes, board._active, waiting._by_key, waiting._by_source, watch.storms])
        assert not ship._deadlines._at
        assert (len(ship._desk.muting.silences), len(ship._desk.former), ship._commands.is_empty) == (0, 0, True)


@quick
@given(stories, st.lists(st.integers(1, 12), min_size=1, max_size=4), st.lists(st.booleans(), min_size=1, max_size=5))
def test_restarts_and_batches_of_any_size_change_nothing(story: Story, sizes: list[int], restarts: list[bool]) -> None:
    watched, events = told(story)
    running, said = logic(), []
    for turn, batch in enumerate(in_batches(events, sizes)):
        said += [decision.message for decision in running.on_batch(batch)[0]]
        if restarts[turn % len(restarts)]:
            running = logic(running.snapshot())
    assert said == watched.said
    assert running.snapshot() == watched.slot.snapshot()


def test_the_stories_see_everything() -> None:
    """In fifty stories each kind of message comes; else the properties above speak of nothing."""
    seen: Counter[str] = Counter()
    for seed in range(50):
        for message in told(story_of(seed, 100))[0].said:
            kind = getattr(message, "event", None) or getattr(message, "kind", None) or type(message).__name__
            seen[str(kind)] += 1
    kinds = {"duplicate", "suppressed", "maintenance", "silence", "inhibited", "storm"}
    missing = ({*LEGAL} | kinds | {"EnrichmentRequest", "AuditEvent"}) - seen.keys()
    assert not missing, seen
