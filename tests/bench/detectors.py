"""Every metric detector alone: cost per sample beside River's primitive, memory, snapshot, false firings on noise.

    python -m tests.bench.detectors --json [--quick]

Costs are medians over rounds in which detector and floor take turns, on white noise after a
warm-up. False firings are those of the production code at the shipped defaults, per 10⁶ samples of
noise without faults, over series of 10⁴, 10⁵ and 10⁶ samples (one a minute), so that young series
count as well; where none fired the figure is 0, and rule of three puts it below 3 / samples.
"""

import argparse
import pickle
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from river import stats, utils

from operators.detect.ewma import Ewma
from operators.detect.finding import Finding
from operators.detect.flat import Flat
from operators.detect.mad import Mad
from operators.detect.record_surprise import RecordSurprise
from operators.detect.seasonal import Seasonal
from operators.detect.stale import Stale
from operators.detect.threshold import Threshold
from operators.detect.zscore import ZScore
from policy.detect_metrics import ZScoreRule
from tests.bench.noise import NOISES, chunks
from tests.bench.report import Figure, write
from tests.support.size import deep_size

STEP_S = 60.0
ROUNDS = 7
Update = Callable[[float, float], Finding | None]


class Case(NamedTuple):
    """One detector: how it is built and fed, the River primitive that is its floor, what series share."""

    build: Callable[[], Any]
    floor: Callable[[], Callable[[float], None]]
    update: Callable[[Any], Update]
    shared: Any = ()
    part: float = 1.0  # of the noise that it is measured on, since it costs more or judges less often


def _weighted() -> Callable[[float], None]:
    mean, var = stats.EWMean(0.02), stats.EWVar(0.001)

    def update(value: float) -> None:
        mean.update(value)
        var.update(value)
        mean.get()
        var.get()

    return update


def _one(primitive: Any) -> Callable[[float], None]:
    def update(value: float) -> None:
        primitive.update(value)
        primitive.get()

    return update


def _rolling() -> Callable[[float], None]:
    rolling: Any = utils.Rolling(stats.Var, window_size=ZScoreRule().window)

    def update(value: float) -> None:
        rolling.update(value)
        rolling.get()

    return update


def _extremes() -> Callable[[float], None]:
    highest, lowest = stats.Max(), stats.Min()

    def update(value: float) -> None:
        highest.update(value)
        lowest.update(value)
        highest.get()
        lowest.get()

    return update


def _pulse(machine: Stale) -> Update:
    def update(at: float, value: float) -> Finding | None:
        return machine.seen(at)

    return update


def _plain(machine: Any) -> Update:
    update: Update = machine.update
    return update


CASES: dict[str, Case] = {
    "threshold": Case(lambda: Threshold(above=1e6, clear=1e5), lambda: _one(stats.EWMean(0.02)), _plain, part=0.0),
    "zscore": Case(ZScore, _rolling, _plain, shared=ZScore()._settings, part=0.3),
    "ewma": Case(Ewma, _weighted, _plain, shared=Ewma()._settings),
    "mad": Case(Mad, lambda: _one(stats.RollingQuantile(0.5, 120)), _plain, shared=Mad()._settings, part=0.3),
    "seasonal": Case(Seasonal, _weighted, _plain, shared=Seasonal()._settings, part=0.5),
    "flat": Case(Flat, lambda: _one(stats.EWMean(0.02)), _plain, shared=Flat()._settings, part=0.5),
    "record_surprise": Case(RecordSurprise, _extremes, _plain, part=0.0),  # false_firings.py has its firings
    "stale": Case(Stale, lambda: _one(stats.EWMean(0.02)), _pulse, part=0.0),
}


def costs(name: str, count: int) -> Iterator[Figure]:
    """Microseconds a sample, with River's primitive in the same rounds as the floor."""
    case = CASES[name]
    values = next(chunks("white", 1, 1, count))
    machine, primitive = case.build(), case.floor()
    update = case.update(machine)
    at, own, floor = 0.0, [], []
    for turn in range(ROUNDS + 1):
        times = [at + STEP_S * i for i in range(count)]
        at = times[-1] + STEP_S
        began = perf_counter()
        for when, value in zip(times, values, strict=True):
            update(when, value)
        middle = perf_counter()
        for value in values:
            primitive(value)
        if turn:
            own.append((middle - began) / count)
            floor.append((perf_counter() - middle) / count)
    yield Figure(f"detectors.{name}.cost", 1e6 * median(own), "us/sample", 1e6 * median(floor))
    yield Figure(f"detectors.{name}.memory", deep_size(machine, case.shared), "bytes/series")
    yield Figure(f"detectors.{name}.snapshot", len(pickle.dumps(machine.snapshot(), 5)), "bytes/series")


def false_firings(name: str, noise: str, samples: int) -> Figure:
    """Firings per million samples of a noise without faults."""
    case = CASES[name]
    fired = total = 0
    for length in (10_000, 100_000, 1_000_000):
        if length > samples and total:
            continue
        series = max(1, round(samples / 3 / length))
        for values in chunks(noise, length, series, length):
            update = case.update(case.build())
            total += length
            for i, value in enumerate(values):
                found = update(STEP_S * i, value)
                fired += found is not None and found.state == "firing"
    return Figure(f"detectors.{name}.false_firings.{noise}", 1e6 * fired / total, f"per 1e6 of {total / 1e6:g}e6")


def sensitivity(age: int) -> Figure:
    """The smallest step, in standard deviations of white noise, that ewma reports at an age in samples."""
    for step in np.geomspace(4.0, 200.0, 60):
        machine = Ewma()
        for i, value in enumerate(next(chunks("white", 2, 1, age))):
            machine.update(STEP_S * i, value)
        if any(machine.update(STEP_S * (age + i), 50.0 + 2.0 * float(step)) for i in range(5)):
            return Figure(f"detectors.ewma.smallest_step.after_{age}", float(step), "standard deviations")
    raise RuntimeError(f"no step up to 200 standard deviations fires after {age} samples")


def figures(quick: bool) -> Iterator[Figure]:
    """All of it; the quick form takes a hundredth of the noise."""
    for name in CASES:
        yield from costs(name, 2000 if quick else 20_000)
    for age in (1000, 10_000) if quick else (1000, 10_000, 100_000):
        yield sensitivity(age)
    for name, case in CASES.items():
        for noise in NOISES if case.part else ():
            yield false_firings(name, noise, int(case.part * (60_000 if quick else 9_000_000)))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes")
    asked = parser.parse_args()
    write(figures(asked.quick), as_json=asked.json)


if __name__ == "__main__":
    main()
