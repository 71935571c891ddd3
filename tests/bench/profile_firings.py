"""How often a whole profile fires on noise without faults: the production detectors as policy chooses them.

    python -m tests.bench.profile_firings [--json] [--quick]

Every outlier detector of the profile judges every sample, voting and hysteresis included. Series of
10,000, 100,000 and 1,000,000 samples (one a minute) make up equal parts, so that young series count as
well. Where nothing fired, the rule of three puts the rate under 3 / samples with 95 % confidence.
"""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from operators.detect.choose import choose_detectors
from tests.bench.flow_run import profile_policy
from tests.bench.noise import NOISES, chunks
from tests.bench.report import Figure, write
from tests.support.make import sample

STEP_S = 60.0
LENGTHS = (10_000, 100_000, 1_000_000)
GOALS = {"full": 1.0, "core-fast": 0.1, "poc": 1.0}
SAMPLES = {"full": 6_000_000, "core-fast": 9_000_000, "poc": 6_000_000}
SEED = 11


class Share(NamedTuple):
    """One process's part: so many series of one length, of one noise."""

    profile: str
    noise: str
    series: int
    length: int


def firings(share: Share) -> int:
    """How often the outlier detectors of a profile fire on fresh series of a noise; thresholds know no noise."""
    policy = profile_policy(share.profile).default
    found = 0
    for values in chunks(share.noise, SEED, share.series, share.length):
        machines = [d.machine for d in choose_detectors(policy, sample(0.0, 0.0)) if d.anomaly_type == "metric_outlier"]
        for i, value in enumerate(values):
            for machine in machines:
                finding = machine.update(STEP_S * i, value)
                found += finding is not None and finding.state == "firing"
    return found


def shares(profile: str, noise: str, samples: int) -> list[Share]:
    """The parts of one figure, each of at most about a million samples."""
    lengths = [length for length in LENGTHS if length <= samples] or [samples]
    parts: list[Share] = []
    for length in lengths:
        series = max(1, round(samples / len(lengths) / length))
        at_once = max(1, 500_000 // length)
        parts += [Share(profile, noise, min(at_once, series - i), length) for i in range(0, series, at_once)]
    return parts


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark, as it is measured."""
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for profile in ("core-fast", "poc", "full"):
            samples = 20_000 if quick else SAMPLES[profile]
            fired = total = 0
            for noise in NOISES:
                parts = shares(profile, noise, samples)
                count, size = sum(pool.map(firings, parts)), sum(part.series * part.length for part in parts)
                fired, total = fired + count, total + size
                yield _rate(f"false_firings.{profile}.{noise}", count, size, GOALS[profile])
            yield _rate(f"false_firings.{profile}.all", fired, total, GOALS[profile])
            yield Figure(f"false_firings.{profile}.samples", total, "samples")
    yield Figure("false_firings.profiles.duration", time.perf_counter() - began, "s")


def _rate(name: str, count: int, samples: int, goal: float) -> Figure:
    return Figure(name, count / samples * 1e6, "firings/10^6 samples", goal)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes")
    asked = parser.parse_args()
    write(figures(quick=asked.quick), as_json=asked.json)


if __name__ == "__main__":
    main()
