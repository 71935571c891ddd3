"""Correlation: the demo ship's faults through the whole vessel flow, scored against their truth.

    python -m tests.bench.correlation --json [--quick] [--seeds N] [--cycles N]

Twelve types of fault a cycle of an hour, overlapping and flapping, on a ship that also sends wild samples,
late and repeated messages and idle warnings (noisy_ship). The same anomalies grouped as others do it
stand beside as baselines. Then the same faults in an order of chance, so that causes and what only
seems to be their symptom overlap; and the cost of an anomaly and the size of an incident with 1,000 open ones and 1,000
silences. The figures go to standard output, what was wrong to standard error, in words.
A cycle takes about five seconds.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bytewax.testing import TestingSource

from compose.demo.faults import CYCLE
from operators.observability import configure_logging
from policy import PolicySet, load_policy
from tests.bench.correlate_cost import cost_figures
from tests.bench.flow_run import Found, run_flow
from tests.bench.grouping import alertmanager, by_domain
from tests.bench.incident_score import Score, firing, overlapping, score, told
from tests.bench.noisy_ship import NoisyShip, ShuffledShip
from tests.bench.quiet_day import BATCH, START, messages
from tests.bench.report import Figure, write

GOAL = 0.95
GOAL_DELAY_S = 1.5
EVIDENCE = 1000
"""Instead of policy's cap, so that every member of an incident can be counted."""
POLICY = {"correlate": f"max_evidence: {EVIDENCE}\n"}


class Run(NamedTuple):
    """One ship's day: how it went, and what others would have said of it."""

    found: Found
    ours: Score
    domain: Score
    alerts: Score
    noise: dict[str, int]


def policy() -> PolicySet:
    """The shipped policy, with evidence kept whole."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in POLICY.items():
            Path(folder, f"{name}.yaml").write_text(text)
        return load_policy(Path(folder))


def run(seed: int, cycles: int, make: type[NoisyShip] = NoisyShip) -> Run:
    """Let one ship go through its faults."""
    ship, rules = make(seed, start=START), policy()
    hours = cycles * CYCLE.total_seconds() / 3600
    found = run_flow(TestingSource(messages(ship, START, hours), BATCH), rules)
    faults = ship.faults(START, cycles)
    episodes, hidden = told(found.revisions, found.anomalies)
    return Run(
        found,
        score(faults, episodes, hidden),
        score(faults, by_domain(found.anomalies)),
        score(faults, alertmanager(found.anomalies, rules.default)),
        ship.noise,
    )


def runs_of(name: str, seeds: int, cycles: int, make: type[NoisyShip]) -> list[Run]:
    """The runs of all seeds; the words go to standard error."""
    runs = []
    for seed in range(1, seeds + 1):
        runs.append(run(seed, cycles, make))
        _tell(f"{name}.seed{seed}", runs[-1])
    return runs


def figures(seeds: int, cycles: int) -> Iterator[Figure]:
    """Every figure of the scenarios."""
    runs = runs_of("correlation", seeds, cycles, NoisyShip)
    faults = [fault for each in runs for fault in each.ours.faults]
    yield Figure("correlation.faults", len(faults), "faults")
    yield Figure("correlation.fault_types", len({fault.kind for fault in faults}), "types")
    yield Figure("correlation.faults.overlapping", sum(overlapping(each.ours.faults) for each in runs), "faults")
    for kind, count in sum((Counter(each.noise) for each in runs), Counter[str]()).items():
        yield Figure(f"correlation.noise.{kind}", count, "events")
    yield from _scored("correlation", [each.ours for each in runs], GOAL)
    yield from _own(runs)
    yield from _scored("correlation.baseline.domain", [each.domain for each in runs])
    yield from _scored("correlation.baseline.alertmanager", [each.alerts for each in runs])
    shuffled = [each.ours for each in runs_of("correlation.shuffled", seeds, cycles, ShuffledShip)]
    yield Figure("correlation.shuffled.faults", sum(len(each.faults) for each in shuffled), "faults")
    yield Figure(
        "correlation.shuffled.faults.overlapping", sum(overlapping(each.faults) for each in shuffled), "faults"
    )
    yield from _scored("correlation.shuffled", shuffled)
    yield from _attributed("correlation.shuffled", shuffled)


def _scored(name: str, scores: list[Score], goal: float | None = None) -> Iterator[Figure]:
    hits, told_of = sum(len(each.hits) for each in scores), sum(each.episodes for each in scores)
    faults = sum(len(each.faults) for each in scores)
    exact = 0.0 if goal else None
    yield Figure(f"{name}.incidents", told_of, "incidents")
    yield Figure(f"{name}.precision", hits / max(1, told_of), "of incidents", goal)
    yield Figure(f"{name}.recall", hits / faults, "of faults", goal)
    yield Figure(f"{name}.missed", faults - hits, "faults", exact)
    yield Figure(f"{name}.false", sum(len(each.false) for each in scores), "incidents", exact)
    yield Figure(f"{name}.wrong_splits", sum(len(each.splits) for each in scores), "incidents", exact)
    yield Figure(f"{name}.wrong_merges", sum(len(each.merges) for each in scores), "incidents", exact)


def _own(runs: list[Run]) -> Iterator[Figure]:
    ours = [each.ours for each in runs]
    anomalies = [each for one in runs for each in firing(one.found.anomalies)]
    told_of = sum(each.episodes for each in ours)
    yield Figure(
        "correlation.in_time",
        sum(each.in_time for each in ours) / sum(len(each.faults) for each in ours),
        "of faults",
        GOAL,
    )
    yield Figure("correlation.anomalies_per_incident", len(anomalies) / max(1, told_of), "anomalies")
    yield Figure(
        "correlation.findings_per_incident", sum(each.count for each in anomalies) / max(1, told_of), "findings"
    )
    yield from _attributed("correlation", ours, GOAL)
    delays = sorted(delay for each in ours for delay in each.delays)
    for percent in (50, 95, 100):
        at = delays[min(len(delays) - 1, len(delays) * percent // 100)] if delays else 0.0
        yield Figure(f"correlation.open_after.p{percent}", at, "s of log time", GOAL_DELAY_S)
    yield Figure("correlation.dead_letters", sum(each.found.dead_letters for each in runs), "dead letters", 0.0)
    yield Figure("correlation.duration", sum(each.found.seconds for each in runs), "s")


def _attributed(name: str, scores: list[Score], goal: float | None = None) -> Iterator[Figure]:
    right, wrong = sum(each.attributed for each in scores), sum(len(each.misattributed) for each in scores)
    yield Figure(f"{name}.inhibited", right + wrong, "incidents")
    yield Figure(f"{name}.inhibited.right", right / max(1, right + wrong), "of inhibited", goal)


def _tell(run_name: str, one: Run) -> None:
    for name, each in (("ours", one.ours), ("domain", one.domain), ("alertmanager", one.alerts)):
        said = [f"missed {fault.kind} on {fault.device_id} at {fault.start:%H:%M:%S}" for fault in each.missed]
        said += [f"false {text}" for text in each.false]
        said += [f"split {text}" for text in each.splits]
        said += [f"merged {text}" for text in each.merges]
        said += [f"hidden {text}" for text in each.misattributed]
        sys.stderr.writelines(f"{run_name}.{name}: {text}\n" for text in said)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="one cycle, and fewer repeats")
    parser.add_argument("--seeds", type=int, help="how many ships, 4 unless told otherwise (3 if quick)")
    parser.add_argument("--cycles", type=int, help="hours of each, 2 unless told otherwise")
    asked = parser.parse_args(arguments)
    seeds = asked.seeds if asked.seeds is not None else 3 if asked.quick else 4
    cycles = asked.cycles if asked.cycles is not None else 1 if asked.quick else 2
    if seeds < 1 or cycles < 1:
        parser.error("--seeds and --cycles must be at least 1")
    configure_logging("error")
    costs = cost_figures(repeats=3 if asked.quick else 9)
    write(chain(figures(seeds, cycles), costs), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
