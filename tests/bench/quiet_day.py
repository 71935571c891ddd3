"""The simulated ship without faults: what the vessel flow says of a day on which nothing happens.

    python -m tests.bench.quiet_day --json [--quick] [--hours H] [--seeds N] [--jobs N]

The whole flow, fed in this process with what compose/demo sends, second by second at the shipped
rates (985,000 samples, about 110,000 lines and 86,400 ticks a day), with each profile and seed. Every
incident is false. The figures go to standard output, what was found to standard error, in words.
A day takes half a minute to a minute of one core, so all nine take about six minutes.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import NamedTuple

from bytewax.testing import TestingSource

from compose.demo.faults import Fault
from compose.demo.ship import DemoShip
from operators.log_clock import LogClock
from operators.observability import configure_logging
from schemas.event import RawMessage
from tests.bench.flow_run import Found, profile_policy, run_flow
from tests.bench.report import Figure, write

START = datetime(2026, 3, 1, tzinfo=UTC)
ARRIVAL = timedelta(milliseconds=5)
PROFILES = ("poc", "core-fast", "full")
GOAL_A_DAY = 2.0
BATCH = 500


class QuietShip(DemoShip):
    """The demo ship on which nothing ever goes wrong."""

    def _active(self, t: datetime) -> list[tuple[Fault, float]]:
        return []


class Day(NamedTuple):
    """One run: a profile, a seed, how many hours of log time."""

    profile: str
    seed: int
    hours: float


class Said(NamedTuple):
    """What the flow said in one run: anomalies by detector and metric, and every one of both in words."""

    day: Day
    incidents: int
    anomalies: Counter[str]
    dead_letters: int
    seconds: float
    lines: list[str]


def messages(ship: DemoShip, start: datetime, hours: float) -> Iterator[RawMessage]:
    """What the ship sends, as the stream would hand it on, ticks included."""
    clock, sequence = LogClock(), 0
    for second in range(round(hours * 3600)):
        at = start + timedelta(seconds=second)
        arrived = at + ARRIVAL
        for subject, payload in (ship.inventory() if second == 0 else []) + ship.step(at):
            sequence += 1
            message = RawMessage("TELEMETRY", 1, sequence, arrived, subject, json.dumps(payload).encode())
            if clock.reaches(arrived):
                yield message._replace(data=b"", tick=True)
            yield message


def live(day: Day, ship: type[DemoShip] = QuietShip) -> Said:
    """Run one day through the flow."""
    source = TestingSource(messages(ship(day.seed), START, day.hours), BATCH)
    return said(day, run_flow(source, profile_policy(day.profile)))


def said(day: Day, found: Found) -> Said:
    """Count and word what was found."""
    fired = [firing.anomaly for firing in found.firings]
    anomalies = Counter(f"{anomaly.detector}.{anomaly.metric_name or anomaly.anomaly_type}" for anomaly in fired)
    lines = [f"incident {each.opened_at:%H:%M:%S} {each.incident_type}: {each.title}" for each in found.openings]
    lines += [f"anomaly {each.ts:%H:%M:%S} {each.series} [{each.detector}] {each.msg}" for each in fired]
    return Said(day, len(found.openings), anomalies, found.dead_letters, found.seconds, lines)


def figures(days: list[Day], jobs: int) -> Iterator[Figure]:
    """Every figure, as runs end; the words go to standard error."""
    if jobs == 1:
        configure_logging("warning")
        for day in days:
            yield from _of(live(day))
        return
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=configure_logging, initargs=("warning",)
    ) as pool:
        for each in pool.map(live, days):
            yield from _of(each)


def _of(each: Said) -> Iterator[Figure]:
    name = f"quiet_day.{each.day.profile}.seed{each.day.seed}"
    sys.stderr.writelines(f"{name}: {line}\n" for line in each.lines)
    per_day = 24.0 / each.day.hours
    yield Figure(f"{name}.incidents", each.incidents * per_day, "incidents/day", GOAL_A_DAY)
    yield Figure(f"{name}.anomalies", each.anomalies.total() * per_day, "anomalies/day")
    for what, count in sorted(each.anomalies.items()):
        yield Figure(f"{name}.anomalies.{what}", count * per_day, "anomalies/day")
    yield Figure(f"{name}.dead_letters", each.dead_letters, "dead letters", 0.0)
    yield Figure(f"{name}.duration", each.seconds, "s")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="one hour of one seed, in one process")
    parser.add_argument("--hours", type=float, help="hours of log time, 24 unless told otherwise")
    parser.add_argument("--seeds", type=int, help="how many ships, 3 unless told otherwise")
    parser.add_argument("--profile", choices=PROFILES, action="append", help="only this one (may be repeated)")
    parser.add_argument("--jobs", type=int, help="processes; one a core, at most 3, unless told otherwise")
    asked = parser.parse_args(arguments)
    hours = asked.hours if asked.hours is not None else 1.0 if asked.quick else 24.0
    seeds = asked.seeds if asked.seeds is not None else 1 if asked.quick else 3
    if hours * 3600 < 1 or seeds < 1:
        parser.error("--hours must be above 0 and --seeds at least 1")
    jobs = asked.jobs if asked.jobs is not None else 1 if asked.quick else min(3, os.cpu_count() or 1)
    days = [Day(profile, seed, hours) for seed in range(1, seeds + 1) for profile in asked.profile or PROFILES]
    write(figures(days, jobs), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
