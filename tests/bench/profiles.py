"""The profiles as they run: cost per sample, memory of many series, bytes a series.

    python -m tests.bench.profiles --json [--quick]

Cost: SampleTable.take over 2,000 series, a sample each 5 s in turn, after 1,000 samples a series (the
detectors are taught them past the table); River's primitives for the same detectors take turns with it
on the same values; the figure is the median of nine rounds, in CPU time of this thread. `hot` is the
same with 20 series, whose state stays in the processor's caches. No threshold watches these series.
Memory: a fresh process a profile, 340 samples a series (50 for core-fast), so that windows are full.
Bytes a series: the same with half an hour between samples, so that every half hour of the week is seen
as well; `growth` is a series' size after four times as many samples over its size then.
"""

import argparse
import gc
import json
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from statistics import median
from time import perf_counter, thread_time
from typing import NamedTuple

import psutil

from operators.detect.samples import SampleTable
from operators.detect.slot import DetectSlot
from policy import PolicySet
from schemas.event import Event
from schemas.telemetry import MetricSample
from tests.bench.flow_run import profile_policy
from tests.bench.load import FLOORS, START, Load, Primitive
from tests.bench.report import Figure, write
from tests.support.size import deep_size

STEP = timedelta(seconds=5)
HALF_HOUR = timedelta(minutes=30)
ROUNDS = 9
FLOOR_WARM_UP = 320
ROUND = 2000
"""Samples in a round at least."""

HOT = 20
LAST = 3
"""Samples of each series that the table itself takes at the end, when its detectors were taught past it."""

GROUP = 1000
NO_CAP = 10**9
MB = 1e6
Samples = Iterable[tuple[Event, MetricSample]]


class Goal(NamedTuple):
    """What a profile may cost: us a sample, MB of process for so many series of so many samples, bytes a series."""

    cost_us: float
    process_mb: float
    series: int
    samples: int
    memory_bytes: float
    snapshot_bytes: float


GOALS = {
    "core-fast": Goal(4.0, 500.0, 100_000, 50, 1024.0, 256.0),
    "full": Goal(15.0, 400.0, 10_000, 340, 32_768.0, 32_768.0),
}


def feed(table: SampleTable, samples: Samples) -> None:
    """Give a table samples."""
    for event, sample in samples:
        for _ in table.take(event, sample):
            pass


def rounds(series: int, samples: int) -> Iterator[Samples]:
    """So many samples of so many series, by groups of series; the last of each as decode makes it."""
    for first in range(0, series, GROUP):
        load = Load(first, min(GROUP, series - first), samples, HALF_HOUR)
        for turn in range(samples - 1):
            yield load.cheap(turn)
        yield load.decoded(samples - 1)


def teach(table: SampleTable, load: Load, turns: range) -> None:
    """Feed the detectors of the latest series past the table, which has seen one round of them: that is faster."""
    latest = list(table._series.values())[-len(load.names) :]
    updates = [[machine.update for machine in series.machines] for series in latest]
    for turn in turns:
        at = (START + turn * load.step).timestamp()
        for each, value in zip(updates, load.values(turn), strict=True):
            for update in each:
                update(at, value)


def cost(profile: str, series: int, warm_up: int) -> Iterator[Figure]:
    """Microseconds a sample of so many series in turn."""
    own, rivers = costs(profile, series, warm_up)
    yield Figure(f"profiles.{profile}.cost", own, "us/sample", rivers)
    yield Figure(f"profiles.{profile}.cost.against_goal", own, "us/sample", GOALS[profile].cost_us)


def hot_cost(profile: str, warm_up: int) -> Iterator[Figure]:
    """Microseconds a sample of a few series in turn."""
    own, rivers = costs(profile, HOT, warm_up)
    yield Figure(f"profiles.{profile}.cost.hot", own, "us/sample", rivers)


def costs(profile: str, series: int, warm_up: int) -> tuple[float, float]:
    """Microseconds a sample, and those of River's primitives in the same rounds."""
    table = SampleTable(profile_policy(profile), max_series=series)
    turns = max(1, ROUND // series)
    load = Load(0, series, warm_up + ROUNDS * turns, STEP)
    floors = [FLOORS[profile]() for _ in range(series)]
    feed(table, load.cheap(0))
    teach(table, load, range(1, warm_up))
    for turn in range(max(0, warm_up - FLOOR_WARM_UP), warm_up):
        _feed_floors(floors, load.values(turn))
    own, rivers = [], []
    for first in range(warm_up, warm_up + ROUNDS * turns, turns):
        samples = [each for turn in range(first, first + turns) for each in load.cheap(turn)]
        values = [load.values(turn) for turn in range(first, first + turns)]
        gc.collect()
        began = thread_time()
        feed(table, samples)
        middle = thread_time()
        for each in values:
            _feed_floors(floors, each)
        rivers.append(thread_time() - middle)
        own.append(middle - began)
    scale = 1e6 / (series * turns)
    return median(own) * scale, median(rivers) * scale


def _feed_floors(floors: list[list[Primitive]], values: list[float]) -> None:
    for primitives, value in zip(floors, values, strict=True):
        for update in primitives:
            update(value)


def sizes(profile: str, series: int) -> Iterator[Figure]:
    """Bytes a series in memory and in a snapshot, and whether it still grows after that."""
    policy, goal = profile_policy(profile), GOALS[profile]
    half, then = deep_size(_filled(policy, series, goal.samples)), deep_size(_filled(policy, 2 * series, goal.samples))
    each = (then - half) / series  # what series share cancels out
    yield Figure(f"profiles.{profile}.series.memory", each, "bytes", goal.memory_bytes)
    longer = [deep_size(_filled(policy, count, 4 * goal.samples)) for count in (series, 2 * series)]
    yield Figure(f"profiles.{profile}.series.growth", (longer[1] - longer[0]) / series / each, "x", 1.0)
    slot = DetectSlot(policy, max_series=NO_CAP)
    for samples in rounds(2 * series, goal.samples):
        for event, _ in samples:
            deque(slot.process(event), maxlen=0)
    saved = len(pickle.dumps(slot.snapshot(), 5)) / (2 * series)
    yield Figure(f"profiles.{profile}.series.snapshot", saved, "bytes", goal.snapshot_bytes)


def _filled(policy: PolicySet, series: int, samples: int) -> SampleTable:
    table = SampleTable(policy, max_series=NO_CAP)
    for each in rounds(series, samples):
        feed(table, each)
    return table


class Memory(NamedTuple):
    """Resident bytes of a process before and after it held so many series, and how long that took to fill."""

    before: int
    after: int
    seconds: float


def measure_memory(profile: str, series: int, samples: int) -> Memory:
    """Hold so many series in a fresh process."""
    command = [sys.executable, "-m", "tests.bench.profiles", "--child", profile, str(series), str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Memory(**json.loads(done.stdout))


def memory(counts: dict[str, int]) -> Iterator[Figure]:
    """The memory that so many series take, by profile, each in a process of its own, at the same time."""
    with ThreadPoolExecutor(len(counts)) as pool:
        asked = [(profile, series, GOALS[profile]) for profile, series in counts.items()]
        done = pool.map(lambda each: measure_memory(each[0], each[1], each[2].samples), asked)
        for (profile, series, goal), measured in zip(asked, done, strict=True):
            name = f"profiles.{profile}.memory.{series}_series"
            in_full = series == goal.series  # the goal is for a whole process, which does not scale
            yield Figure(f"{name}.process", measured.after / MB, "MB", goal.process_mb if in_full else None)
            added = (measured.after - measured.before) / MB
            yield Figure(f"{name}.added", added, "MB", goal.process_mb * series / goal.series)
            yield Figure(f"{name}.duration", measured.seconds, "s")


def child(profile: str, series: int, samples: int) -> None:
    """Print the memory of this process before and after it holds so many series."""
    policy = profile_policy(profile)
    _filled(policy, 1, samples)  # whatever is made once
    process, began = psutil.Process(), perf_counter()
    gc.collect()
    before = process.memory_info().rss
    table = SampleTable(policy, max_series=NO_CAP)
    for first in range(0, series, GROUP):
        load = Load(first, min(GROUP, series - first), samples, STEP)
        feed(table, load.cheap(0))
        teach(table, load, range(1, samples - LAST))
        for turn in range(samples - LAST, samples - 1):
            feed(table, load.cheap(turn))
        feed(table, load.decoded(samples - 1))
    gc.collect()
    after = process.memory_info().rss
    measured = Memory(before, after, perf_counter() - began)
    del table  # until here it had to live
    sys.stdout.write(json.dumps(measured._asdict()))


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    yield from memory({profile: goal.series // 100 if quick else goal.series for profile, goal in GOALS.items()})
    for profile in GOALS:
        yield from hot_cost(profile, 1000)
        yield from cost(profile, 200 if quick else 2000, 1000)
        yield from sizes(profile, 20 if quick else 50)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="fewer series")
    parser.add_argument("--child", nargs=3, metavar=("PROFILE", "SERIES", "SAMPLES"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.child is not None:
        child(asked.child[0], int(asked.child[1]), int(asked.child[2]))
        return 0
    write(figures(quick=asked.quick), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
