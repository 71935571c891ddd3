"""Who depends on whom: against brute force over all simple paths."""

import pickle
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.correlate import topology
from operators.correlate.topology import KnownDevice, Topology
from schemas.base import Severity
from schemas.ops import Device

NAMES = "abcdef"
Edges = dict[str, tuple[str, ...]]

graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4).map(tuple), max_size=6)
changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple), st.booleans()),
    max_size=20,
)


def entry(name: str, *depends_on: str, **fields: object) -> Device:
    return Device.model_validate({"ship_id": "aurora", "device_id": name, "depends_on": depends_on, **fields})


def of(edges: Edges) -> Topology:
    made = Topology()
    for name, depends_on in edges.items():
        made.apply(entry(name, *depends_on))
    return made


def paths(edges: Edges, at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every way that visits no device twice, from the end of `at` on."""
    for each in edges.get(at[-1], ()):
        if each not in at:
            yield (*at, each)
            yield from paths(edges, (*at, each))


def brute_upstream(edges: Edges, name: str) -> dict[str, tuple[str, ...]]:
    """The shortest path to each, of several the first by name; the nearest first, then by path."""
    best: dict[str, tuple[str, ...]] = {}
    for path in paths(edges, (name,)):
        known = best.get(path[-1])
        if known is None or (len(path), path) < (len(known), known):
            best[path[-1]] = path
    return dict(sorted(best.items(), key=lambda item: (len(item[1]), item[1])))


def turned(edges: Edges) -> Edges:
    return {name: tuple(sorted(each for each in edges if name in edges[each])) for name in NAMES}


@given(graphs)
def test_upstream_is_what_brute_force_finds(edges: Edges) -> None:
    made = of(edges)
    for name in NAMES:
        expected = brute_upstream(edges, name)
        assert list(made.upstream(name).items()) == list(expected.items())


@given(graphs)
def test_downstream_is_upstream_turned_round(edges: Edges) -> None:
    made = of(edges)
    for name in NAMES:
        expected = brute_upstream(turned(edges), name)
        assert list(made.downstream(name).items()) == [(each, path[::-1]) for each, path in expected.items()]


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(edges: Edges, random: Random) -> None:
    shuffled = list(edges.items())
    random.shuffle(shuffled)
    one, other = of(edges), of(dict(shuffled))
    assert one.snapshot() == other.snapshot()
    assert [*one.snapshot()["devices"]] == [*other.snapshot()["devices"]]
    assert [list(one.upstream(name).items()) for name in NAMES] == [
        list(other.upstream(name).items()) for name in NAMES
    ]


@given(changes)
def test_answers_follow_every_change_and_survive_a_snapshot(steps: list[tuple[str, tuple[str, ...], bool]]) -> None:
    """Asked after each step, so that an answer kept too long is seen."""
    made, edges = Topology(), dict[str, tuple[str, ...]]()
    for name, depends_on, removed in steps:
        made.apply(entry(name, *depends_on, removed=removed))
        edges.pop(name, None)
        if not removed:
            edges[name] = depends_on
        restored = Topology()
        restored.restore(pickle.loads(pickle.dumps(made.snapshot())))
        for each in NAMES:
            expected = list(brute_upstream(edges, each).items())
            assert list(made.upstream(each).items()) == list(restored.upstream(each).items()) == expected
            down = [*brute_upstream(turned(edges), each)]
            assert [*made.downstream(each)] == [*restored.downstream(each)] == down
        assert [*made] == [*restored]


def test_two_that_depend_on_each_other_are_upstream_of_each_other_and_not_of_themselves() -> None:
    made = of({"a": ("b",), "b": ("a",), "c": ("c",)})
    assert dict(made.upstream("a")) == {"b": ("a", "b")}
    assert dict(made.upstream("b")) == {"a": ("b", "a")}
    assert dict(made.downstream("a")) == {"b": ("b", "a")}
    assert dict(made.upstream("c")) == {}


def test_what_a_device_depends_on_need_not_be_in_the_inventory() -> None:
    made = of({"app-01": ("core-switch",)})
    assert dict(made.upstream("app-01")) == {"core-switch": ("app-01", "core-switch")}
    assert made.device("core-switch") is None
    assert made.apply(entry("core-switch", "vsat-1")) == "changed"
    assert made.upstream("app-01")["vsat-1"] == ("app-01", "core-switch", "vsat-1")
    assert made.downstream("vsat-1")["app-01"] == ("app-01", "core-switch", "vsat-1")
    assert made.apply(entry("core-switch", removed=True)) == "changed"
    assert [*made.upstream("app-01")] == ["core-switch"]
    assert made.apply(entry("core-switch", removed=True)) == "unchanged"


def test_unknown_devices_have_nothing_around_them() -> None:
    made = Topology()
    assert (dict(made.upstream("x")), dict(made.downstream("x")), made.device("x")) == ({}, {}, None)
    with pytest.raises(KeyError):
        _ = made.upstream("x")["y"]


def test_the_entry_says_type_and_criticality() -> None:
    made = Topology()
    first = entry("vsat-1", "mast", device_type="modem", criticality="high")
    assert [made.apply(first), made.apply(first)] == ["changed", "unchanged"]
    assert made.device("vsat-1") == KnownDevice("vsat-1", "modem", Severity.HIGH, ("mast",))
    assert made.apply(first.model_copy(update={"criticality": "low"})) == "changed"
    assert made.device("vsat-1") == KnownDevice("vsat-1", "modem", Severity.LOW, ("mast",))


def test_beyond_its_bounds_it_refuses_and_counts() -> None:
    made = Topology(max_devices=2)
    assert [made.apply(entry(name)) for name in "abc"] == ["changed", "changed", "refused"]
    assert made.apply(entry("a", "b")) == "changed"
    assert made.apply(entry("a", *[f"d{n}" for n in range(topology.MAX_DEPENDS_ON + 1)])) == "refused"
    assert made.apply(entry("a", device_type="x" * 257)) == "refused"
    assert dict(made.upstream("a")) == {"b": ("a", "b")}
    assert made.counts == {"device_cap": 1, "device_too_big": 2}
    assert made.apply(entry("b", removed=True)) == "changed"
    assert made.apply(entry("c")) == "changed"
    assert len(made) == 2


def test_answers_are_kept_until_a_dependency_changes_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = of({f"d{n}": (f"d{n + 1}",) for n in range(50)})
    kept = made.upstream("d0")
    made.apply(entry("d3", "d4", criticality="critical"))
    assert made.upstream("d0") is kept
    made.apply(entry("d3", "d9"))
    assert made.upstream("d0") is not kept
    assert "d4" not in made.upstream("d0")
    monkeypatch.setattr(topology, "CACHED", 120)
    for n in range(50):
        made.upstream(f"d{n}")
        assert sum(len(each) + 1 for each in made._cache.values()) <= 121


def test_of_a_chain_of_ten_thousand_64_steps_are_looked_at_and_that_is_counted() -> None:
    made = of({f"d{n:05}": (f"d{n + 1:05}",) for n in range(9_999)})
    last = made.upstream("d00000")
    assert len(last) == 64
    assert len(last["d00064"]) == 65
    assert made.downstream("d00064")["d00000"] == last["d00064"]
    assert made.counts["depth_cap"] == 1
    assert len(made.upstream("d09935")) == 64
    assert made.counts["depth_cap"] == 1


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="snapshot version 2, expected 1"):
        Topology().restore({"v": 2, "devices": {}})
