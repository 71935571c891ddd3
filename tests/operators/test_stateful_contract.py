"""The contract of every stateful operator, run over all of them.

A snapshot is not live state, survives pickling, and going on from it equals never having stopped.
"""

import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol

import pytest

from operators.correlate.operator import CorrelateLogic, CorrelateSlot
from operators.detect.operator import DetectLogic
from operators.detect.slot import DetectSlot
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Event
from schemas.ops import Device, OpsCommand
from tests.support.make import at, enriched, event, line, sample, tick
from tests.support.snapshots import meaning


class Logic(Protocol):
    def on_batch(self, values: list[Event]) -> tuple[Any, bool]: ...

    def snapshot(self) -> dict[str, Any]: ...


Build = Callable[[dict[str, Any] | None], Logic]
POLICY = load_policy(None)


class Unrouted:
    """Gives DetectLogic its events as the step does: in lists, with their places."""

    def __init__(self, logic: DetectLogic) -> None:
        self._logic = logic

    def on_batch(self, values: list[Event]) -> tuple[Any, bool]:
        half = len(values) // 2
        routed = [[(each.pos, "", each) for each in part] for part in (values[:half], values[half:])]
        return self._logic.on_batch(routed)

    def notify_at(self) -> Any:
        return self._logic.notify_at()

    def snapshot(self) -> dict[str, Any]:
        return self._logic.snapshot()


def build_detect(resume: dict[str, Any] | None) -> Logic:
    slot = DetectSlot(POLICY, max_series=100)
    if resume is not None:
        slot.restore(resume)
    return Unrouted(DetectLogic(slot, FlowMetrics("test")))


def build_correlate(resume: dict[str, Any] | None) -> Logic:
    slot = CorrelateSlot(POLICY)
    if resume is not None:
        slot.restore(resume)
    return CorrelateLogic(slot, FlowMetrics("test"))


def detect_story() -> list[Event]:
    out = []
    for n in range(60):
        second = 30.0 * n
        out.append(tick(second))
        out.append(event(sample(second + 0.1, 95.0 if 10 <= n < 20 else 30.0 + n % 3)))
        if 25 <= n < 27:
            out += [
                event(line(second + 0.2 + k / 100, f"Failed password for root from 203.0.113.{k} port 1 ssh2"))
                for k in range(8)
            ]
    return out


def correlate_story() -> list[Event]:
    """Three servers that come and go, one that depends on another, a silence, and a word about an incident."""
    out = [Event((0, 0), at(0), Device(ship_id="aurora", device_id="srv-2", depends_on=("srv-1",)))]
    for n in range(40):
        second = 30.0 * n
        out.append(tick(second))
        if n in (5, 20):
            args = {"matchers": {"device_id": "srv-0"}, "duration_s": 120}
            known: dict[str, Any] = {
                "ship_id": "aurora",
                "by": "eva",
                "reason": "backup",
                "incident_id": "none",
                "args": args,
            }
            body = OpsCommand(command_id=f"c{n}", action="silence" if n == 5 else "ack", **known)
            out.append(Event((int(second * 1000) + 50, 0), at(second + 0.05), body))
        out.append(event(enriched(second + 0.1, device_id=f"srv-{n % 3}", state="cleared" if n % 4 == 3 else "firing")))
    return [*out, *(tick(1200.0 + 60 * n) for n in range(30))]


OPERATORS: dict[str, tuple[Build, list[Event]]] = {
    "detect": (build_detect, detect_story()),
    "correlate": (build_correlate, correlate_story()),
}


def feed(logic: Logic, events: list[Event], size: int = 3) -> list[Any]:
    out: list[Any] = []
    for start in range(0, len(events), size):
        out += list(logic.on_batch(events[start : start + size])[0])
    return out


@pytest.fixture(params=list(OPERATORS))
def case(request: pytest.FixtureRequest) -> tuple[Build, list[Event]]:
    return OPERATORS[request.param]


def test_the_story_says_something(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    assert (
        len([out for out in feed(build(None), events) if not isinstance(out, Event) or hasattr(out.body, "state")]) > 5
    )


def test_a_snapshot_is_not_live_state(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    logic = build(None)
    half = len(events) // 2
    feed(logic, events[:half])
    saved = logic.snapshot()
    copy = deepcopy(saved)
    feed(logic, events[half:])
    assert saved == copy


def test_a_snapshot_survives_pickling(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    logic = build(None)
    feed(logic, events[: len(events) // 2])
    saved = logic.snapshot()
    assert pickle.loads(pickle.dumps(saved)) == saved
    assert build(pickle.loads(pickle.dumps(saved))).snapshot() == saved


def test_resuming_equals_never_stopping(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    whole = build(None)
    expected = feed(whole, events)
    for cut in range(0, len(events), 7):
        first = build(None)
        before = feed(first, events[:cut])
        second = build(pickle.loads(pickle.dumps(first.snapshot())))
        assert before + feed(second, events[cut:]) == expected, f"cut at {cut}"
        assert meaning(second.snapshot()) == meaning(whole.snapshot()), f"cut at {cut}"


def test_the_order_within_a_batch_does_not_matter(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    backwards = [each for start in range(0, len(events), 10) for each in reversed(events[start : start + 10])]
    assert feed(build(None), backwards, 10) == feed(build(None), events, 10)


def test_a_snapshot_of_another_version_is_refused(case: tuple[Build, list[Event]]) -> None:
    build, events = case
    logic = build(None)
    feed(logic, events)
    saved = logic.snapshot()
    for part in (saved, *(value for value in saved.values() if isinstance(value, dict))):
        if "v" in part:
            part["v"] = 99
    with pytest.raises(ValueError, match="snapshot version 99"):
        build(saved)


def test_it_never_asks_to_be_woken_since_time_is_in_the_log(case: tuple[Build, list[Event]]) -> None:
    build, _ = case
    assert build(None).notify_at() is None  # type: ignore[attr-defined]
