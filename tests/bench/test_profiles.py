from datetime import timedelta

import pytest

from operators.detect.samples import SampleTable
from operators.detect.saved_rows import unpack_rows
from tests.bench import profiles
from tests.bench.flow_run import profile_policy
from tests.bench.load import FLOORS, Load
from tests.bench.profiles import GOALS, Goal, cost, feed, hot_cost, measure_memory, memory, rounds, sizes, teach

STEP = timedelta(seconds=5)


def test_the_same_series_have_the_same_values_however_they_are_grouped() -> None:
    whole, part = Load(0, 7, 20, STEP), Load(5, 2, 20, STEP)
    assert whole.values(3)[5:] == part.values(3)
    assert whole.names[5:] == part.names


def test_cheap_and_decoded_samples_differ_only_in_their_ids() -> None:
    load = Load(8, 4, 3, STEP)
    for (_, cheap), (_, decoded) in zip(load.cheap(2), load.decoded(2), strict=True):
        assert decoded.model_copy(update={"tracking_id": cheap.tracking_id}) == cheap
        assert decoded.tracking_id != cheap.tracking_id


def test_every_series_gets_every_sample_and_ends_with_a_decoded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "GROUP", 3)
    samples = [sample for batch in rounds(7, 4) for _, sample in batch]
    by_series: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        by_series.setdefault((sample.device_id, sample.metric_name), []).append(sample.ts.timestamp())
    assert len(by_series) == 7
    assert all(len(times) == 4 and times == sorted(set(times)) for times in by_series.values())
    assert sum(sample.tracking_id[:8] != "00000000" for sample in samples) == 7


@pytest.mark.parametrize("profile", ["core-fast", "full"])
def test_costs_stand_beside_rivers_and_the_goal(profile: str) -> None:
    own, against = cost(profile, 5, 40)
    assert own.value == against.value > 0
    assert own.floor is not None
    assert own.floor > 0
    assert against.floor == GOALS[profile].cost_us
    assert len(FLOORS["full"]()) > len(FLOORS["core-fast"]())


def test_few_series_stand_beside_the_same_floor() -> None:
    (hot,) = hot_cost("core-fast", 40)
    assert (hot.name, hot.unit) == ("profiles.core-fast.cost.hot", "us/sample")
    assert hot.value > 0
    assert hot.floor is not None


def test_detectors_that_were_taught_know_what_the_table_would_have_told_them() -> None:
    policy, load = profile_policy("full"), Load(0, 5, 60, STEP)
    taught, fed = SampleTable(policy, max_series=5), SampleTable(policy, max_series=5)
    feed(taught, load.cheap(0))
    teach(taught, load, range(1, 60))
    for turn in range(60):
        feed(fed, load.cheap(turn))
    machines = [[row[4] for row in unpack_rows(table.snapshot()["series"])] for table in (taught, fed)]
    assert machines[0] == machines[1]
    assert machines[0]


def test_a_slower_table_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = next(cost("core-fast", 20, 40)).value
    take = SampleTable.take
    monkeypatch.setattr(SampleTable, "take", lambda *a: [sum(range(5000)), *take(*a)][1:])
    assert next(cost("core-fast", 20, 40)).value > plain + 5.0


def test_state_that_grows_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOALS, "core-fast", Goal(4.0, 500.0, 100, 40, 1024.0, 256.0))
    before = {figure.name: figure.value for figure in sizes("core-fast", 2)}
    assert before["profiles.core-fast.series.growth"] == pytest.approx(1.0, abs=0.02)
    take = SampleTable.take

    def leaking(self: SampleTable, event, *sample):  # type: ignore[no-untyped-def]
        self.__dict__.setdefault("leak", []).append(float(event.pos[0]) + 0.5)
        return take(self, event, *sample)

    monkeypatch.setattr(SampleTable, "take", leaking)
    after = {figure.name: figure.value for figure in sizes("core-fast", 2)}
    assert after["profiles.core-fast.series.growth"] > 1.2
    assert after["profiles.core-fast.series.memory"] > before["profiles.core-fast.series.memory"] + 40 * 24


def test_memory_is_that_of_another_process() -> None:
    few, many = measure_memory("core-fast", 10, 20), measure_memory("core-fast", 2000, 20)
    assert few.after >= few.before > 0
    assert many.after - many.before > few.after - few.before + 2000 * 500  # at least 500 bytes a series


def test_a_goal_for_fewer_series_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "measure_memory", lambda *asked: profiles.Memory(10_000_000, 30_000_000, 1.0))
    found = {figure.name: figure for figure in memory({"full": 1000})}
    added = found["profiles.full.memory.1000_series.added"]
    assert (added.value, added.floor) == (20.0, 40.0)
    assert found["profiles.full.memory.1000_series.process"].floor is None
    assert next(memory({"full": 10_000})).floor == 400.0


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-profile"):
        measure_memory("no-such-profile", 1, 1)
