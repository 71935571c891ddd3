import random

from operators.detect.flat import Flat, flat_settings

DAY = 86_400.0


def feed(machine: Flat, samples: list[tuple[float, float]]) -> list[tuple[float, str]]:
    return [(at, found.state) for at, value in samples if (found := machine.update(at, value))]


def varying(days: float, step: float = 60.0, seed: int = 1) -> list[tuple[float, float]]:
    draw = random.Random(seed)
    return [(step * i, round(draw.gauss(20, 2), 2)) for i in range(int(days * DAY / step))]


def stuck(start: float, hours: float, step: float = 60.0, value: float = 21.5) -> list[tuple[float, float]]:
    return [(start + step * i, value) for i in range(int(hours * 3600 / step))]


def test_a_sensor_that_sticks_fires_once_and_clears_when_it_moves() -> None:
    machine = Flat()
    assert feed(machine, varying(14)) == []
    found = feed(machine, stuck(14 * DAY, 12))
    assert [state for _, state in found] == ["firing"]
    assert 3600 < found[0][0] - 14 * DAY < 9 * 3600
    assert feed(machine, [(15 * DAY, 22.0), (15 * DAY + 60, 21.0)]) == [(15 * DAY, "cleared")]


def test_the_longer_it_varied_the_sooner_it_fires() -> None:
    delays = []
    for days in (3, 30, 90):
        machine = Flat()
        feed(machine, varying(days, step=30.0))
        delays.append(feed(machine, stuck(days * DAY, 48, step=30.0))[0][0] - days * DAY)
    assert delays == sorted(delays, reverse=True)
    assert delays[0] > 2 * delays[-1] >= 1800


def test_nights_at_zero_are_learnt_in_the_first_two_days() -> None:
    draw = random.Random(2)
    samples = [(60.0 * i, draw.random() if 6 <= i / 60 % 24 < 22 else 0.0) for i in range(60 * 24 * 60)]
    machine = Flat()
    assert feed(machine, samples) == []
    assert [state for _, state in feed(machine, stuck(60 * DAY, 120, value=0.0))] == ["firing"]


def test_a_series_that_never_varied_or_seldom_does_is_not_judged() -> None:
    assert feed(Flat(), stuck(0, 24 * 90)) == []
    assert feed(Flat(), [(60.0 * i, float(i // 3000)) for i in range(100_000)]) == []


def test_it_takes_time_as_well_as_samples() -> None:
    machine = Flat(flat_settings(min_s=7200.0, warmup_s=0.0, risk=1e-3))
    feed(machine, [(i / 10, float(i % 7)) for i in range(5000)])
    found = feed(machine, [(500 + i / 10, 3.3) for i in range(80_000)])
    assert [state for _, state in found] == ["firing"]
    assert found[0][0] >= 500 + 7200


def test_a_clock_jump_is_no_history() -> None:
    machine = Flat(flat_settings(risk=0.1, min_changes=1))
    feed(machine, varying(0.5))
    assert feed(machine, stuck(400 * DAY, 3)) == []


def test_a_tolerance_takes_jitter_for_standing_still() -> None:
    draw = random.Random(3)
    machine, strict = Flat(flat_settings(tolerance=0.01)), Flat()
    for each in (machine, strict):
        feed(each, varying(14))
    jitter = [(at, value + draw.uniform(-0.004, 0.004)) for at, value in stuck(14 * DAY, 12)]
    assert [state for _, state in feed(machine, jitter)] == ["firing"]
    assert feed(strict, jitter) == []


def test_the_score_is_a_half_at_the_bound() -> None:
    machine = Flat(flat_settings(risk=1e-2, warmup_s=0.0, min_s=0.0))
    feed(machine, varying(1))
    for at, value in stuck(DAY, 4):
        found = machine.update(at, value)
        if found is None:
            assert machine._run < machine._tail.settings.level or machine.score < 0.5
            continue
        assert 0.5 <= found.score < 0.55
        return
    raise AssertionError("never fired")


def test_it_says_the_run_and_its_bound_as_numbers() -> None:
    machine = Flat(flat_settings(risk=1e-2, warmup_s=0.0, min_s=0.0))
    feed(machine, varying(1))
    (finding,) = [found for at, value in stuck(DAY, 4) if (found := machine.update(at, value))]
    assert finding.statistic is not None
    assert finding.bound is not None
    assert finding.bound <= finding.statistic < finding.bound + 1
