"""Silences: who owns them, what they mute, when they end, and that they are found without a search."""

import pickle
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.correlate.matchers import Matchers, Scope, Subject
from operators.correlate.silence import Silence, SilenceError, parse_silence
from operators.correlate.silences import Silences
from policy import load_policy
from policy.maintenance import SilenceLimits
from tests.support.make import at

LIMITS = SilenceLimits()
WEEK_S = 604_800


def subject(device_id: str = "gw-1", service: str = "routing", **fields: Any) -> Subject:
    known: dict[str, Any] = {
        "ship_id": "aurora",
        "incident_type": "network_issue",
        "severity": "high",
        "domain": "net",
        "title": "Network issue",
        "scopes": (Scope(device_id, service, "loss_pct", "packet_loss_high"),),
    }
    return Subject(**{**known, **fields})


def silence(silence_id: str, seconds: float = 100, starts: float = 0, **matchers: str) -> Silence:
    return Silence(silence_id, Matchers(matchers), "eva", "known", at(starts), at(seconds))


def table(*silences: Silence, limits: SilenceLimits = LIMITS) -> Silences:
    out = Silences(limits)
    for each in silences:
        out.add(each)
    return out


def ask(args: dict[str, Any], by: str = "eva", reason: str | None = "known fault") -> Silence:
    return parse_silence(args, silence_id="s", by=by, reason=reason, now=at(0), limits=LIMITS)


def test_a_command_makes_a_silence_with_owner_reason_and_end() -> None:
    made = ask({"matchers": {"device_id": "gw-1"}, "duration_s": 3600}, reason="  known fault ")
    assert made == Silence("s", Matchers({"device_id": "gw-1"}), "eva", "known fault", at(0), at(3600))
    assert ask({"matchers": {"service": "a"}, "expires_at": "2026-03-01T02:00:00+01:00"}).expires_at == at(3600)
    assert ask({"matchers": {"service": "a"}, "duration_s": WEEK_S}).expires_at == at(WEEK_S)
    assert ask({"matchers": {"service": "a"}, "expires_at": at(WEEK_S).isoformat()}).expires_at == at(WEEK_S)


GOOD = {"matchers": {"device_id": "gw-1"}}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "args.matchers: expected a mapping"),
        ({"matchers": {}, "duration_s": 60}, "args.matchers: empty; name at least one of"),
        ({"matchers": {"device_id": "*"}, "duration_s": 60}, "would silence the whole ship"),
        ({"matchers": {"dev": "a"}, "duration_s": 60}, "args.matchers: dev is not known"),
        (GOOD, "expected either duration_s (seconds) or expires_at; a silence must end"),
        ({**GOOD, "duration_s": 60, "expires_at": "2026-03-01T01:00:00Z"}, "expected either duration_s"),
        ({**GOOD, "duration_s": None}, "a silence must end"),
        ({**GOOD, "duration_s": 0}, "args.duration_s: expected a number of seconds from 1 to 604800 (7 days), got 0"),
        ({**GOOD, "duration_s": -5}, "got -5"),
        ({**GOOD, "duration_s": WEEK_S + 1}, "args.duration_s"),
        ({**GOOD, "duration_s": 10**400}, "args.duration_s"),
        ({**GOOD, "duration_s": float("nan")}, "got 'nan'"),
        ({**GOOD, "duration_s": float("inf")}, "got 'inf'"),
        ({**GOOD, "duration_s": True}, "got 'True'"),
        ({**GOOD, "duration_s": "60"}, "got '60'"),
        ({**GOOD, "expires_at": "2026-03-01T01:00:00"}, "args.expires_at: time zone missing"),
        ({**GOOD, "expires_at": "soon"}, "args.expires_at: Invalid isoformat string: 'soon'; send for example"),
        ({**GOOD, "expires_at": 5}, "args.expires_at"),
        ({**GOOD, "expires_at": at(0).isoformat()}, "args.expires_at: expected a time after"),
        ({**GOOD, "expires_at": at(WEEK_S + 1).isoformat()}, "at most 7 days"),
        ({**GOOD, "x" * 5000: 60}, f"args.{'x' * 40} is not known"),
        ({**GOOD, "duration": 60}, "args.duration is not known; there are matchers, duration_s and expires_at"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_with_what_to_send(args: dict[str, Any], says: str) -> None:
    with pytest.raises(SilenceError) as caught:
        ask(args)
    assert says in str(caught.value)
    assert str(caught.value).startswith("silence: ")


@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 1001])
def test_a_silence_without_a_reason_is_refused(reason: str | None) -> None:
    with pytest.raises(SilenceError, match="reason: expected why this need not be heard"):
        ask({**GOOD, "duration_s": 60}, reason=reason)


def test_a_silence_that_nobody_owns_is_refused() -> None:
    with pytest.raises(SilenceError, match="by: expected the name of the person who answers for it"):
        ask({**GOOD, "duration_s": 60}, by="  ")


def test_the_longest_silence_is_said_by_policy() -> None:
    limits = SilenceLimits(max_duration_s=120)
    with pytest.raises(SilenceError, match="from 1 to 120"):
        parse_silence({**GOOD, "duration_s": 121}, silence_id="s", by="eva", reason="r", now=at(0), limits=limits)
    shipped = load_policy(None).default.maintenance
    assert shipped.silences == SilenceLimits(max_active=10_000, max_duration_s=WEEK_S)
    assert shipped.windows == {}


def test_it_mutes_from_its_start_until_before_its_end() -> None:
    silences = table(silence("s", 100, starts=10, device_id="gw-1"))
    muted = {n: silences.match(subject(), at(n)) is not None for n in (9.9, 10, 99.9, 100)}
    assert muted == {9.9: False, 10: True, 99.9: True, 100: False}
    assert silences.match(subject("gw-2"), at(50)) is None


def test_it_does_not_mute_what_touches_another_device() -> None:
    both = subject(scopes=(Scope("gw-1", "routing"), Scope("gw-2", "routing")))
    assert table(silence("s", device_id="gw-1")).match(both, at(1)) is None
    assert table(silence("s", device_id="gw-2")).match(both, at(1)) is None
    assert table(silence("s", device_id="gw-*")).match(both, at(1)) is not None


def test_hits_are_counted_by_match_and_not_by_find() -> None:
    silences = table(silence("s", device_id="gw-1"))
    assert silences.find(subject(), at(1)) == silence("s", device_id="gw-1")
    silences.match(subject(), at(2))
    hit = silences.match(subject(), at(3))
    assert hit is not None
    assert (hit.hits, hit.last_hit_at) == (2, at(3))
    assert silences.match(subject("gw-2"), at(4)) is None
    assert silences.get("s") == hit
    assert silences.due(at(100)) == [hit]


def test_of_several_the_one_that_lasts_longest_is_named_whatever_their_order() -> None:
    many = [
        silence("a", 50, device_id="gw-1"),
        silence("b", 90, service="r*"),
        silence("c", 90, domain="net"),
        silence("d", 200, starts=150, device_id="gw-1"),
    ]
    for order in (many, many[::-1]):
        found = table(*order).match(subject(), at(10))
        assert found is not None
        assert found.silence_id == "c"


def test_those_that_expire_are_told_in_order_and_forgotten() -> None:
    silences = table(silence("late", 30, device_id="a"), silence("b", 10, device_id="b"), silence("a", 10, service="x"))
    assert silences.deadline == at(10)
    assert silences.due(at(9.9)) == []
    assert [each.silence_id for each in silences.due(at(10))] == ["a", "b"]
    assert silences.deadline == at(30)
    assert [each.silence_id for each in silences.due(at(99))] == ["late"]
    assert len(silences) == 0
    assert silences.deadline is None
    assert silences.due(at(999)) == []


def test_one_that_is_taken_away_ends_there() -> None:
    silences = table(silence("s", device_id="gw-1"), silence("t", 50, device_id="gw-1"))
    removed = silences.remove("s", at(20))
    assert removed == replace(silence("s", device_id="gw-1"), expires_at=at(20))
    assert silences.remove("s", at(21)) is None
    assert silences.remove("nobody", at(21)) is None
    assert silences.remove("t", at(50)) is None
    assert [each.silence_id for each in silences.all()] == ["t"]
    assert silences.deadline == at(50)


def test_one_id_may_come_back_with_another_end() -> None:
    silences = table(silence("s", 50, device_id="gw-1"))
    silences.remove("s", at(1))
    silences.add(silence("s", 80, device_id="gw-1"))
    assert silences.due(at(60)) == []
    assert len(silences.due(at(80))) == 1


def test_more_than_policy_allows_are_refused_and_there_is_room_again_later() -> None:
    silences = table(
        *(silence(f"s{n}", 10 + n, device_id=f"d{n}") for n in range(3)), limits=SilenceLimits(max_active=3)
    )
    with pytest.raises(SilenceError, match=r"there are 3 silences already.*max_active"):
        silences.add(silence("s4", device_id="x"))
    silences.due(at(10))
    silences.add(silence("s4", device_id="x"))
    with pytest.raises(SilenceError, match="s4 exists already"):
        silences.add(silence("s4", device_id="y"))


def test_coming_and_going_leaves_nothing_behind() -> None:
    silences = Silences(LIMITS)
    for n in range(5000):
        silences.add(silence(f"s{n}", 1e6 + n, device_id=f"d{n}", service="x*"))
        silences.remove(f"s{n}", at(1))
    fresh = Silences(LIMITS)
    assert silences.snapshot() == fresh.snapshot()
    assert silences._index.steps == fresh._index.steps == 0
    assert len(silences._ends) <= 101


def test_a_snapshot_goes_on_as_if_nothing_had_happened() -> None:
    silences = table(silence("a", device_id="gw-1"), silence("b", 50, title="*issue"), silence("c", 70, service="*o*"))
    silences.match(subject(), at(1))
    saved = silences.snapshot()
    frozen = deepcopy(saved)
    resumed = Silences(LIMITS)
    resumed.restore(pickle.loads(pickle.dumps(saved)))
    assert resumed.snapshot() == saved
    for seconds in (2, 60, 80, 100):
        assert resumed.due(at(seconds)) == silences.due(at(seconds))
        assert resumed.match(subject(), at(seconds)) == silences.match(subject(), at(seconds))
        assert resumed.deadline == silences.deadline
    assert saved == frozen
    with pytest.raises(ValueError, match="snapshot version 9"):
        resumed.restore({**saved, "v": 9})


def test_a_snapshot_with_more_than_policy_allows_by_now_is_kept() -> None:
    silences = table(*(silence(f"s{n}", device_id=f"d{n}") for n in range(5)))
    smaller = Silences(SilenceLimits(max_active=2))
    smaller.restore(silences.snapshot())
    assert len(smaller) == 5
    with pytest.raises(SilenceError, match="5 silences already"):
        smaller.add(silence("x", device_id="x"))


def thousand(kind: str) -> list[Silence]:
    """A thousand silences of a kind, none of which speaks of gw-1."""
    kinds: dict[str, Any] = {
        "device": lambda n: {"device_id": f"srv-{n}"},
        "one device, many services": lambda n: {"device_id": "gw-1", "service": f"svc-{n}"},
        "one type, many titles": lambda n: {"incident_type": "network_issue", "title": f"{n}: net"},
        "beginnings": lambda n: {"device_id": f"srv-{n:04}*"},
        "ends": lambda n: {"device_id": f"*-{n:04}"},
        "middles": lambda n: {"device_id": f"*-{n:04}-*", "title": "*?"},
        "mixed": lambda n: [
            {"device_id": f"srv-{n}"},
            {"service": f"svc-{n}", "severity": "low"},
            {"incident_type": "auth_attack", "rule": f"rule-{n}*"},
            {"domain": "net", "metric_name": f"m{n}"},
        ][n % 4],
    }
    return [silence(f"s{n:04}", 1000, **kinds[kind](n)) for n in range(1000)]


@pytest.mark.parametrize(
    "kind", ["device", "one device, many services", "one type, many titles", "beginnings", "ends", "middles", "mixed"]
)
def test_a_thousand_silences_are_not_searched(kind: str) -> None:
    silences = table(*thousand(kind), silence("own", 2000, device_id="gw-1", service="routing"))
    for n in range(100):
        assert silences.match(subject(f"other-{n}"), at(1)) is None
    assert silences.compared == 0
    assert silences._index.steps <= 8
    found = silences.match(subject(), at(1))
    assert found is not None
    assert found.silence_id == "own"
    assert silences.compared == 1


VALUES = ["gw-1", "gw-2", "srv-1"]
GLOBS = [*VALUES, "gw-*", "*-1", "*w*", "?w-1", "?w*", "*v-?", "*-1*", "*[gs]*-*", "[gs]*-1", "srv*", "*"]
MATCHERS = st.dictionaries(
    st.sampled_from(["device_id", "service", "title", "metric_name", "ship_id"]),
    st.sampled_from(GLOBS),
    min_size=1,
    max_size=3,
)
SCOPES = st.builds(
    Scope, st.sampled_from(VALUES), st.sampled_from(VALUES), st.one_of(st.none(), st.sampled_from(VALUES))
)
SUBJECTS = st.builds(
    Subject,
    st.sampled_from(VALUES),
    st.just("network_issue"),
    st.just("high"),
    st.just("net"),
    st.sampled_from(VALUES),
    st.lists(SCOPES, max_size=3).map(tuple),
    st.booleans(),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(MATCHERS, st.integers(1, 20)), max_size=12), SUBJECTS, st.integers(0, 20))
def test_the_index_finds_what_a_search_finds(given: list[Any], about: Subject, second: int) -> None:
    many = [silence(f"s{n}", end, **matchers) for n, (matchers, end) in enumerate(given)]
    mute = [each for each in many if each.is_active(at(second)) and each.matchers.hold(about)]
    best = max(mute, key=lambda each: (each.expires_at, each.silence_id), default=None)
    assert table(*many).find(about, at(second)) == best


def test_time_is_log_time() -> None:
    """Nothing reads the wall clock: years ago is as good as now."""
    long_ago: datetime = at(0) - timedelta(days=9000)
    made = parse_silence({**GOOD, "duration_s": 60}, silence_id="s", by="eva", reason="r", now=long_ago, limits=LIMITS)
    silences = table(made)
    assert silences.match(subject(), long_ago) is not None
    assert silences.deadline == long_ago + timedelta(seconds=60)
