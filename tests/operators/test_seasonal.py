import math
import random

import numpy as np
import pytest

from operators.detect.seasonal import HOURS, Seasonal, seasonal_settings

WEEK = 7 * 86_400
STEP = 900.0


def usual(at: float) -> float:
    """Working hours of working days, and a night watch on Sundays."""
    hour = at / 3600 % HOURS
    return 60.0 + (30.0 if hour < 120 and 8 <= hour % 24 < 18 else 0.0) + 4.0 * math.sin(hour / 24 * 2 * math.pi)


def weeks(count: float, seed: int = 1, start: float = 0.0) -> list[tuple[float, float]]:
    draw = random.Random(seed)
    return [(start + STEP * i, usual(STEP * i) + draw.gauss(0.0, 1.0)) for i in range(int(count * WEEK / STEP))]


def feed(machine: Seasonal, samples: list[tuple[float, float]]) -> list[tuple[float, str]]:
    return [(at, found.state) for at, value in samples if (found := machine.update(at, value))]


def test_the_profile_is_the_batch_mean_of_each_hour() -> None:
    machine = Seasonal(seasonal_settings(fading=0.01))
    samples = weeks(5)
    feed(machine, [*samples, (5 * WEEK, 60.0)])
    values = np.array([value for _, value in samples]).reshape(5, HOURS, -1)
    assert np.array(machine._means) == pytest.approx(values.mean(axis=(0, 2)), rel=1e-5)
    assert bytes(machine._weeks) == bytes([5]) * HOURS


def test_its_deviations_are_the_batch_mean_distances_from_the_weeks_before() -> None:
    machine = Seasonal(seasonal_settings(fading=0.01))
    samples = weeks(6)
    feed(machine, [*samples, (6 * WEEK, 60.0)])
    values = np.array([value for _, value in samples]).reshape(6, HOURS, -1)
    distances = [np.abs(values[w] - values[:w].mean(axis=(0, 2))[:, None]).mean(axis=1) for w in range(1, 6)]
    running = np.arange(1, values.shape[2] + 1)
    first = np.abs(values[0] - np.cumsum(values[0], axis=1) / running).mean(axis=1)
    assert np.array(machine._deviations) == pytest.approx(np.mean([first, *distances], axis=0), rel=1e-4)


def test_a_working_day_on_a_sunday_fires_though_the_value_is_common() -> None:
    machine = Seasonal(seasonal_settings(risk=1e-4))
    assert feed(machine, weeks(8)) == []
    sunday = 8 * WEEK + 6 * 86_400 + 10 * 3600
    quiet = [each for each in weeks(1, 2, 8 * WEEK) if each[0] < sunday]
    assert feed(machine, quiet) == []
    assert feed(machine, [(sunday + STEP * i, 95.0) for i in range(6)]) == [(sunday + 2 * STEP, "firing")]


def test_nothing_is_judged_before_two_weeks_of_the_same_hour() -> None:
    machine = Seasonal(seasonal_settings(risk=0.5))
    assert feed(machine, [*weeks(1.99), *((1.99 * WEEK + STEP * i, 1e6) for i in range(2))]) == []
    short = Seasonal(seasonal_settings(risk=0.5))
    feed(short, weeks(1.5))
    assert feed(short, [(1.6 * WEEK + i, 1e6) for i in range(60)]) == []
    with pytest.raises(ValueError, match="min_weeks is 1"):
        Seasonal(seasonal_settings(min_weeks=1))


def test_a_bad_week_teaches_little() -> None:
    machine = Seasonal()
    feed(machine, weeks(8))
    before = np.array(machine._means)
    feed(machine, [(8 * WEEK + STEP * i, 1e6) for i in range(int(WEEK / STEP) + 1)])
    assert np.max(np.abs(np.array(machine._means) - before)) < 6.0


def test_an_impossible_reading_while_learning_teaches_little() -> None:
    machine = Seasonal(seasonal_settings(risk=1e-4))
    samples = weeks(6)
    samples[200] = (samples[200][0], 1e300)
    feed(machine, samples)
    assert abs(machine._means[50] - usual(50 * 3600)) < 40.0
    assert machine._overall[1] < 3.0


def test_a_sample_of_an_hour_gone_by_is_left_out_and_a_clock_set_back_begins_anew() -> None:
    machine = Seasonal()
    feed(machine, weeks(3))
    before = machine.snapshot()
    late = 3 * WEEK - 2 * 3600.0
    assert machine.update(late, 1e6) is None
    assert machine._hour == 3 * HOURS - 1
    assert machine.snapshot()["profile"] == before["profile"]
    feed(machine, [(2 * WEEK + STEP * i, usual(STEP * i)) for i in range(200)])
    assert machine._hour == int((2 * WEEK + STEP * 199) // 3600)
