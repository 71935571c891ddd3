import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.silence import Silence, SilenceFinding

DEVICES = ("modem", "router", "server", "sonar")
SERIES = ("a", "b", "c")


def board(devices: tuple[str, ...] = DEVICES, series: tuple[str, ...] = SERIES) -> Silence:
    made = Silence(settle_s=30)
    for device in devices:
        for _ in series:
            made.watch(device)
    return made


def told(found: list[SilenceFinding]) -> list[tuple[str, str, str, str]]:
    return [(each.scope, each.device, each.series, each.state) for each in found]


def test_one_series_is_told_as_itself_when_things_have_settled() -> None:
    made = board()
    made.silent("modem", "a", 100, 40)
    assert made.deadline == 130
    assert made.due(129.9) == []
    found = made.due(130)
    assert told(found) == [("series", "modem", "a", "firing")]
    assert found[0].since == 40
    assert told(made.heard("modem", "a", 200)) == [("series", "modem", "a", "cleared")]


def test_a_device_is_told_once_though_its_series_fall_silent_one_by_one() -> None:
    made = board()
    for at, name in ((100, "a"), (105, "b"), (129, "c")):
        made.silent("modem", name, at, at - 60)
    found = made.due(130)
    assert told(found) == [("device", "modem", "", "firing")]
    assert found[0].msg == "device modem is silent: 3 of 3 series, none of them since 1970-01-01 00:01:09 UTC"


def test_a_series_told_alone_goes_over_into_its_device() -> None:
    made = board()
    made.silent("modem", "a", 100, 40)
    made.due(130)
    made.silent("modem", "b", 140, 80)
    assert told(made.due(170)) == [("device", "modem", "", "firing"), ("series", "modem", "a", "cleared")]


def test_a_ship_of_thousands_of_series_is_one_finding_and_one_end() -> None:
    names = tuple(f"s{i}" for i in range(50))
    devices = tuple(f"d{i}" for i in range(60))
    made = board(devices, names)
    for device in devices:
        for name in names:
            made.silent(device, name, 100, 40)
    found = made.due(130)
    assert told(found) == [("ship", "", "", "firing")]
    assert found[0].silent == 3000
    back = [each for device in devices for name in names for each in made.heard(device, name, 500)]
    assert told(back) == [("ship", "", "", "cleared")]
    assert made.due(530) == []


def test_what_stays_silent_after_the_ship_is_heard_is_told_then() -> None:
    made = board()
    for device in DEVICES:
        for name in SERIES:
            made.silent(device, name, 100, 40)
    made.due(130)
    for device in DEVICES[1:]:
        for name in SERIES:
            made.heard(device, name, 500)
    assert told(made.due(530)) == [("device", "modem", "", "firing")]


def test_a_series_that_reports_once_a_day_keeps_nothing_alive() -> None:
    made = board()
    for name in ("a", "b"):
        made.silent("modem", name, 100, 40)
    found = made.due(130)
    assert told(found) == [("device", "modem", "", "firing")]
    assert (found[0].silent, found[0].watched) == (2, 3)


def test_a_device_heard_in_part_goes_back_to_its_series() -> None:
    made = board()
    for name in SERIES:
        made.silent("modem", name, 100, 40)
    made.due(130)
    assert made.heard("modem", "a", 200) == []
    assert told(made.heard("modem", "b", 201)) == [("device", "modem", "", "cleared")]
    assert told(made.due(231)) == [("series", "modem", "c", "firing")]


def test_half_the_devices_are_not_the_ship_and_one_device_never_is() -> None:
    made = board()
    for device in DEVICES[:2]:
        for name in SERIES:
            made.silent(device, name, 100, 40)
    assert told(made.due(130)) == [("device", "modem", "", "firing"), ("device", "router", "", "firing")]
    alone = board(("modem",))
    for name in SERIES:
        alone.silent("modem", name, 100, 40)
    assert told(alone.due(130)) == [("device", "modem", "", "firing")]


def test_what_is_heard_before_it_settles_is_never_told() -> None:
    made = board()
    made.silent("modem", "a", 100, 40)
    assert made.heard("modem", "a", 110) == []
    assert made.due(130) == []


def test_a_forgotten_series_takes_its_silence_along() -> None:
    made = board(("modem", "router"), ("a",))
    made.silent("modem", "a", 100, 40)
    made.due(130)
    assert told(made.forget("modem", "a", 140)) == [("series", "modem", "a", "cleared")]
    assert made.forget("modem", "a", 141) == []
    made.silent("modem", "a", 150, 140)
    assert made.due(1e9) == []


def test_a_forgotten_device_takes_its_finding_along() -> None:
    made = board()
    for name in SERIES:
        made.silent("modem", name, 100, 40)
    made.due(130)
    ends = [each for name in SERIES for each in made.forget("modem", name, 200)]
    assert told(ends) == [("device", "modem", "", "cleared")]
    assert made.due(1e9) == []


Op = tuple[str, str, str, int]
ops = st.lists(
    st.tuples(
        st.sampled_from(["silent", "silent", "heard", "forget", "watch", "tick"]),
        st.sampled_from(DEVICES),
        st.sampled_from(SERIES),
        st.integers(0, 40),
    ),
    max_size=80,
)


def legal(story: list[Op]) -> list[Op]:
    """The story without what no owner says: a series is watched, and forgotten, once each in turn."""
    watched = {(device, series) for device in DEVICES for series in SERIES}
    out = []
    for kind, device, series, step in story:
        known = (device, series) in watched
        wrong = known if kind == "watch" else not known and kind != "tick"
        out.append(("tick" if wrong else kind, device, series, step))
        if not wrong and kind in ("watch", "forget"):
            watched ^= {(device, series)}
    return out


def play(made: Silence, story: list[Op], now: int = 0) -> list[SilenceFinding]:
    out = []
    for kind, device, series, step in story:
        now += step
        out += made.due(now)
        found: Any = None
        if kind == "silent":
            made.silent(device, series, now, now - 60.0)
        elif kind == "watch":
            made.watch(device)
        elif kind != "tick":
            found = getattr(made, kind)(device, series, now)
        out += found or []
    return out


@given(ops)
def test_what_is_told_is_true_covers_everything_and_says_nothing_twice(story: list[Op]) -> None:
    made, state, silent = board(), set[tuple[str, str, str]](), dict[tuple[str, str], bool]()
    for step in legal(story):
        for each in play(made, [step], 0):
            place = (each.scope, each.device, each.series)
            assert (place in state) == (each.state == "cleared")
            state ^= {place}
    made.silent("modem", "a", 10_000, 9000)
    for each in made.due(20_000):
        state ^= {(each.scope, each.device, each.series)}
    silent = {(name, series): True for name, known in made._devices.items() for series in known.silent}
    if ("ship", "", "") in state:
        assert len(state) == 1
    else:
        devices = {device for scope, device, _ in state if scope == "device"}
        alone = {(device, series) for scope, device, series in state if scope == "series"}
        assert not devices & {device for device, _ in alone}
        assert {key for key in silent if key[0] not in devices} == alone
        assert devices <= {device for device, _ in silent}


@given(ops, st.integers(0, 80))
def test_resuming_equals_never_stopping(story: list[Op], cut: int) -> None:
    story = legal(story)
    whole, first, second = board(), board(), Silence(settle_s=30)
    expected = play(whole, story)
    before = play(first, story[:cut])
    saved = first.snapshot()
    second.restore(pickle.loads(pickle.dumps(saved)))
    now = sum(step for *_, step in story[:cut])
    assert before + play(second, story[cut:], now) == expected
    assert second.snapshot() == whole.snapshot()


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="snapshot version 99"):
        board().restore({**board().snapshot(), "v": 99})
