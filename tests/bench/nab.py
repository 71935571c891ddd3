"""The Numenta Anomaly Benchmark: `python -m tests.bench.nab [--json] [--quick] [--score NAME]`.

NAB_DIR names the data. One threshold serves all streams; it is NAB's own choice (the best), and
beside it stand the score at 0.5, where detectors fire as shipped, the score with the threshold that
was best for the other half of the streams, and the best score on perturbed inputs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from math import sqrt
from typing import Any

import numpy as np
from river import stats, utils

from operators.detect.choose import choose_detectors
from operators.detect.ewma import Ewma
from operators.detect.flat import Flat
from operators.detect.mad import Mad
from operators.detect.record_surprise import RecordSurprise
from operators.detect.seasonal import Seasonal
from operators.detect.zscore import ZScore
from policy import Policy
from tests.bench.flow_run import profile_policy
from tests.bench.nab_data import Labelled, NabMissing, load, nab_dir
from tests.bench.nab_scorer import PROFILES, Scorer
from tests.bench.report import Figure, write
from tests.support.make import sample

Score = Callable[[float, float], float]
STANDARD = PROFILES["standard"]
FIRES_AT = 0.5
BLIND_EVERY = 400
HALF_BIN_S = 900.0
SPLITS = 8
RISKS = (1.0, 10.0)  # false firings a series and month that policy may allow, beside what ships
UNIT = "NAB points"
THRESHOLD = "metric_threshold"
UNKNOWN = sample(0.0, 0.0, metric_name="unknown")  # a series that no threshold or rule speaks of


def of_detector(machine: Any) -> Score:
    """The score in [0, 1] that a detector gives each sample."""

    def score(at: float, value: float) -> float:
        machine.update(at, value)
        return float(machine.score)

    return score


def plain_zscore(window: int = 300) -> Score:
    """Distance from the rolling mean in standard deviations, as River computes them."""
    rolling = utils.Rolling(stats.Var, window_size=window)

    def score(at: float, value: float) -> float:
        var = rolling.obj
        deviation = sqrt(max(var.get(), 0.0))
        z = abs(value - var.mean.get()) / deviation if deviation > 0.0 else 0.0
        rolling.update(value)
        return z

    return score


def blind(streams: Sequence[Labelled]) -> list[list[float]]:
    """An alarm every 400 points, whatever they are."""
    return [[float(point % BLIND_EVERY == 0) for point in range(len(stream.values))] for stream in streams]


def full(policy: Policy | None = None) -> Score:
    """The voted score of the detectors that a policy chooses; the shipped one with the profile `full` unless given."""
    policy = policy or profile_policy("full").default
    (detector,) = (each for each in choose_detectors(policy, UNKNOWN) if each.anomaly_type != THRESHOLD)
    return of_detector(detector.machine)


SCORES: dict[str, Callable[[], Score]] = {
    "full": full,
    "zscore": lambda: of_detector(ZScore()),
    "record_surprise": lambda: of_detector(RecordSurprise()),
    "record_surprise_raw": lambda: RecordSurprise().raw_score,
    "ewma": lambda: of_detector(Ewma()),
    "mad": lambda: of_detector(Mad()),
    "seasonal": lambda: of_detector(Seasonal()),
    "flat": lambda: of_detector(Flat()),
    "zscore_plain": plain_zscore,
}
WHOLE = "full"


def score_named(name: str) -> Callable[[], Score]:
    """A known score, or `module:function` of one's own that gives a fresh score for every stream."""
    if name in SCORES:
        return SCORES[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"--score {name}: unknown; choose from {', '.join(SCORES)} or name a module:function")
    made: Callable[[], Score] = getattr(import_module(module), attribute)
    return made


def run(make: Callable[[], Score], streams: Sequence[Labelled]) -> list[list[float]]:
    """The scores of every stream; a sample that is not later than the one before is late and scores 0."""
    found = []
    for stream in streams:
        score, last, scores = make(), float("-inf"), []
        for at, value in zip(stream.at, stream.values, strict=True):
            scores.append(score(at, value) if at > last else 0.0)
            last = max(last, at)
        found.append(scores)
    return found


def perturbed(streams: Sequence[Labelled]) -> dict[str, list[Labelled]]:
    """The same streams in other units, or half a seasonal bin later."""
    return {
        "times_30": [each._replace(values=[30.0 * value for value in each.values]) for each in streams],
        "by_30": [each._replace(values=[value / 30.0 for value in each.values]) for each in streams],
        "half_bin_later": [each._replace(at=[at + HALF_BIN_S for at in each.at]) for each in streams],
    }


def carried(streams: Sequence[Labelled], scores: list[list[float]], first: Sequence[int]) -> float:
    """The score when each half of the streams is judged at the threshold that is best for the other half."""
    halves = [sorted(first), sorted(set(range(len(streams))) - set(first))]
    parts = [(Scorer([streams[i] for i in half]), [scores[i] for i in half]) for half in halves]
    best = [scorer.best(part, STANDARD).threshold for scorer, part in parts]
    total = sum(
        scorer.at(part, STANDARD, other) * scorer.windows
        for (scorer, part), other in zip(parts, reversed(best), strict=True)
    )
    return total / sum(scorer.windows for scorer, _ in parts)


def basic(name: str, scorer: Scorer, scores: list[list[float]], floor: float | None) -> Iterator[Figure]:
    """The three profiles at the best threshold."""
    for profile, weights in PROFILES.items():
        yield Figure(f"nab.{name}.{profile}", scorer.best(scores, weights).score, UNIT, floor)


def whole(name: str, streams: Sequence[Labelled], scorer: Scorer, floor: float) -> Iterator[Figure]:
    """Everything about the score that ships."""
    make = score_named(name)
    began = time.perf_counter()
    scores = run(make, streams)
    spent = (time.perf_counter() - began) / sum(map(len, scores)) * 1e6
    yield from basic(f"whole.{name}", scorer, scores, floor)
    yield Figure(f"nab.whole.{name}.best_threshold", scorer.best(scores, STANDARD).threshold, "score")
    for profile, weights in PROFILES.items():
        yield Figure(f"nab.whole.{name}.shipped.{profile}", scorer.at(scores, weights, FIRES_AT), UNIT, floor)
    for risk in RISKS:
        at_risk = run(partial(full, profile_policy("full", risk).default), streams)
        yield Figure(f"nab.full.risk_{risk:g}.standard", scorer.at(at_risk, STANDARD, FIRES_AT), UNIT, floor)
    others = {case: scorer.best(run(make, other), STANDARD).score for case, other in perturbed(streams).items()}
    for case, value in others.items():
        yield Figure(f"nab.whole.{name}.perturbed.{case}", value, UNIT, floor)
    yield Figure(f"nab.whole.{name}.perturbed.mean", float(np.mean(list(others.values()))), UNIT, floor)
    yield Figure(f"nab.whole.{name}.carried", carried(streams, scores, range(0, len(streams), 2)), UNIT, floor)
    draws = [np.random.default_rng(seed).permutation(len(streams))[: len(streams) // 2] for seed in range(SPLITS)]
    by_chance = [carried(streams, scores, [int(i) for i in draw]) for draw in draws]
    yield Figure(f"nab.whole.{name}.carried.random_mean", float(np.mean(by_chance)), UNIT, floor)
    yield Figure(f"nab.whole.{name}.carried.random_least", min(by_chance), UNIT, floor)
    yield Figure(f"nab.whole.{name}.cost", spent, "µs/sample")


def figures(streams: Sequence[Labelled], name: str) -> Iterator[Figure]:
    """Every figure of this benchmark, as it is measured."""
    scorer = Scorer(streams)
    nothing = [[0.0] * len(stream.values) for stream in streams]
    yield Figure("nab.streams", len(streams), "streams")
    yield Figure("nab.no_alarm.standard", scorer.best(nothing, STANDARD).score, UNIT)
    plain = run(plain_zscore, streams)
    floor = scorer.best(plain, STANDARD).score
    yield from basic("zscore_plain", scorer, plain, None)
    yield from basic("blind", scorer, blind(streams), floor)
    yield from whole(name, streams, scorer, floor)
    for other in SCORES:
        if other not in (name, "zscore_plain"):
            yield from basic(f"alone.{other}", scorer, run(SCORES[other], streams), floor)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the data or the score is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.nab", description="The Numenta Anomaly Benchmark.")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="every fifth stream")
    parser.add_argument("--score", default=WHOLE, help=f"what ships: {', '.join(SCORES)} or module:function")
    chosen = parser.parse_args(arguments)
    try:
        score_named(chosen.score)
        streams = load(nab_dir())
    except (NabMissing, ValueError, ImportError, AttributeError) as error:
        sys.stderr.write(f"nab: {error}\n")
        return 2
    write(figures(streams[::5] if chosen.quick else streams, chosen.score), as_json=chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
