"""Idle: what `watchkeeper up` takes while nothing comes in, as a process and part by part.

`python -m tests.bench.idle --json [--quick]`. cpu: per cent of one core over the time, of the process that holds
flows, API and chDB, and of its nats-server; the floor is the goal of 10 %. memory: resident, after that time.
flow.*: each part as a process of its own, likewise (the archive with chDB inside; detect and correlate in the
vessel's place).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.bench.report import Figure, write
from tests.support.parts import parts_in
from tests.support.system import running

GOAL_PCT = 10.0
SECONDS, QUICK_SECONDS = 60.0, 5.0
SETTLE_S, QUICK_SETTLE_S = 10.0, 2.0
FLOWS = ("vessel", "detect", "correlate", "archive")
MB = 1_000_000


def busy(processes: Mapping[str, psutil.Process], seconds: float) -> dict[str, float]:
    """Per cent of one core that each takes in that time."""
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    return {name: 100.0 * (sum(process.cpu_times()[:2]) - before[name]) / took for name, process in processes.items()}


def report(
    prefix: str, processes: Mapping[str, psutil.Process], seconds: float, goal: float | None
) -> Iterator[Figure]:
    """Processor and memory of each process; goal: for all together."""
    shares = busy(processes, seconds)
    if goal is not None:
        yield Figure(f"{prefix}.cpu", sum(shares.values()), "% of one core", goal, most=2 * goal)
    for name, process in processes.items():
        yield Figure(f"{prefix}.{name}.cpu", shares[name], "% of one core")
        yield Figure(f"{prefix}.{name}.memory", process.memory_info().rss / MB, "MB")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes away afterwards."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def up(settle: float, seconds: float) -> Iterator[Figure]:
    """The embedded system."""
    with scratch() as folder, running(folder / "data", "--no-demo", "--no-host-metrics") as ship:
        process = psutil.Process(ship.process.pid)
        (server,) = (child for child in process.children() if "nats-server" in child.name())
        time.sleep(settle)
        yield from report("idle.up", {"watchkeeper": process, "nats-server": server}, seconds, GOAL_PCT)
        ship.stop()


def apart(settle: float, seconds: float) -> Iterator[Figure]:
    """Each part as a process of its own."""
    with scratch() as folder, parts_in(folder, embedded=True) as parts:
        for flow in FLOWS:
            parts.start_flow(flow, wait=False)
        for flow in FLOWS:
            parts.wait_ready(flow)
        time.sleep(settle)
        processes = {flow: psutil.Process(parts.processes[flow].pid) for flow in FLOWS}
        yield from report("idle.flow", processes, seconds, None)


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    settle, seconds = (QUICK_SETTLE_S, QUICK_SECONDS) if quick else (SETTLE_S, SECONDS)
    yield from up(settle, seconds)
    if not quick:
        yield from apart(settle, seconds / 2)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="some seconds, the embedded system only")
    asked = parser.parse_args(arguments)
    return 0 if write(figures(quick=asked.quick), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
