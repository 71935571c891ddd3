"""How often record_surprise fires on noise: `python -m tests.bench.false_firings [--json] [--quick]`.

A NumPy reference carries the length; every run first checks it against the production detector, score
by score and firing by firing, on the same noise.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from operators.detect.record_surprise import RecordSurprise
from tests.bench.batch_records import BatchRecordSurprise
from tests.bench.batch_views import Floats
from tests.bench.noise_streams import KINDS, noise
from tests.bench.report import Figure, write

LOOSE = {"risk": 30.0, "min_size": 0.02, "min_samples": 60, "min_history_s": 0.0}
START_S = 1.4e9
TOLERANCE = 1e-6


class Disagreement(Exception):
    """The reference and the production detector differ."""


def columns(streams: int, interval_s: float, seed: int) -> Iterator[Floats]:
    """All kinds side by side: `streams` columns each, in the order of KINDS."""
    sources = [noise(kind, streams, interval_s, seed) for kind in KINDS]
    while True:
        yield np.concatenate([next(source) for source in sources])


def parameters(**changes: float) -> dict[str, float]:
    """What decides a firing, as the production detector ships it."""
    shipped = RecordSurprise(**changes)  # type: ignore[arg-type]
    return {name: getattr(shipped, name) for name in ("risk", "min_size", "min_samples", "min_month", "min_history_s")}


def count_firings(
    *, streams: int, length: int, interval_s: float, seed: int, **changes: float
) -> tuple[dict[str, int], list[tuple[int, int]]]:
    """Firings by kind, and each of them as (stream, sample)."""
    batch = BatchRecordSurprise(streams * len(KINDS), **parameters(**changes))
    found: list[tuple[int, int]] = []
    for i, x in zip(range(length), columns(streams, interval_s, seed), strict=False):
        _, fired = batch.update(START_S + i * interval_s, x)
        found += [(int(stream), i) for stream in fired]
    counts = dict.fromkeys(KINDS, 0)
    for stream, _ in found:
        counts[KINDS[stream // streams]] += 1
    return counts, found


def check_against_production(*, streams: int, length: int, interval_s: float, seed: int, **changes: float) -> int:
    """Samples on which the reference and RecordSurprise gave the same scores and firings; else Disagreement."""
    count = streams * len(KINDS)
    batch = BatchRecordSurprise(count, **parameters(**changes))
    singles = [RecordSurprise(**changes) for _ in range(count)]  # type: ignore[arg-type]
    for i, x in zip(range(length), columns(streams, interval_s, seed), strict=False):
        at = START_S + i * interval_s
        score, fired = batch.update(at, x)
        for stream, single in enumerate(singles):
            finding = single.update(at, float(x[stream]))
            begins = finding is not None and finding.state == "firing"
            if abs(single.surprise - score[stream]) > TOLERANCE or begins != (stream in fired):
                raise Disagreement(
                    f"{KINDS[stream // streams]} stream {stream}, sample {i}: production score {single.surprise}, "
                    f"firing {begins}; reference {score[stream]}, firing {stream in fired}"
                )
    return count * length


def figures(*, quick: bool, seed: int = 1) -> Iterator[Figure]:
    """Every figure of this benchmark, as it is measured."""
    checked = check_against_production(streams=2, length=1500 if quick else 6000, interval_s=60.0, seed=seed)
    # a risk so high that firings do happen, so that they too are compared
    checked += check_against_production(streams=2, length=1500 if quick else 6000, interval_s=60.0, seed=seed, **LOOSE)
    yield Figure("false_firings.checked_against_production", checked, "samples")
    began = time.perf_counter()
    total = 0
    layouts = (
        [("60s", 60.0, 40, 10_000)]
        if quick
        else [("60s", 60.0, 60, 100_000), ("300s", 300.0, 60, 30_000), ("60s.young", 60.0, 400, 5_000)]
    )
    for name, interval_s, streams, length in layouts:
        counts, _ = count_firings(streams=streams, length=length, interval_s=interval_s, seed=seed)
        samples = streams * length
        total += samples * len(KINDS)
        for kind, count in counts.items():
            yield Figure(f"false_firings.{name}.{kind}", count / samples * 1e6, "firings/10^6 samples", 1.0)
        all_kinds = sum(counts.values()) / (samples * len(KINDS))
        yield Figure(f"false_firings.{name}.all", all_kinds * 1e6, "firings/10^6 samples", 1.0)
        yield Figure(
            f"false_firings.{name}.month",
            all_kinds * 30 * 86_400 / interval_s,
            "firings/series/month",
            parameters()["risk"],
        )
    yield Figure("false_firings.samples", total, "samples")
    yield Figure("false_firings.duration", time.perf_counter() - began, "s")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="less than half a minute")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    write(figures(quick=chosen.quick, seed=chosen.seed), as_json=chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
