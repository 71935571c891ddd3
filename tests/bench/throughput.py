"""Throughput: the vessel flow over a backlog in a real JetStream, against the floor that its source sets.

`python -m tests.bench.throughput --json [--quick]`. single: 500,000 messages, 80 % samples of 2,000 series,
20 % log lines, one in 1,000 part of a fault. batched: the same samples, 50 a message. The floor is the same
source, each payload read with json.loads and dropped; value and floor are measured in turn, and the median
of the rounds counts (of the ratios too). by_processor is the ratio of processor times, which a busy machine disturbs
less. See tests/bench/jetstream_flow.py for how a run is timed.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.jetstream_flow import Run, in_child, result
from tests.bench.report import Figure, write
from tests.bench.telemetry_load import ShipLoad
from tests.bench.telemetry_store import fill, forget_outputs, store
from tests.support.nats import Server

SERIES = 2000
MESSAGES, QUICK_MESSAGES = 500_000, 50_000
SCRAPE = 50
ROUNDS, QUICK_ROUNDS = 5, 2
LEAST = {"single": 0.25, "batched": 0.07}
"""Processor time that the floor takes over that of the flow: what it must not fall below."""


def measure(kind: str, server: Server, last: int) -> Run:
    """One run in a process of its own, with an empty recovery store."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        done = result(in_child(kind, server, last, Path(folder)))
    if kind != "floor":
        forget_outputs(server)
    return done


def compare(server: Server, last: int, rounds: int) -> tuple[list[Run], list[Run]]:
    """Vessel flow and floor in turn."""
    pairs = [(measure("vessel", server, last), measure("floor", server, last)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def report(name: str, runs: tuple[list[Run], list[Run]], per_message: int, unit: str) -> Iterator[Figure]:
    """The figures of one kind of load."""
    flows, floors = runs
    rate = median(run.rate for run in flows) * per_message
    yield Figure(f"throughput.{name}", rate, unit, median(run.rate for run in floors) * per_message)
    ratio = median(flow.rate / floor.rate for flow, floor in zip(flows, floors, strict=True))
    yield Figure(f"throughput.{name}.ratio", ratio, "of the floor")
    by_processor = median(floor.cpu_seconds / flow.cpu_seconds for flow, floor in zip(flows, floors, strict=True))
    yield Figure(f"throughput.{name}.by_processor", by_processor, "of the floor", least=LEAST[name])
    cpu = median(run.cpu_seconds / run.messages for run in flows) / per_message
    yield Figure(f"throughput.{name}.cpu", cpu * 1e6, f"µs/{unit.split('/')[0].removesuffix('s')}")


def single(messages: int, rounds: int) -> Iterator[Figure]:
    """One sample or line a message."""
    load = ShipLoad(SERIES)
    with store() as server:
        last = fill(server, load, messages)
        yield from report("single", compare(server, last, rounds), 1, "messages/s")


def batched(messages: int, rounds: int) -> Iterator[Figure]:
    """As many samples, 50 a message."""
    load = ShipLoad(SERIES, per_message=SCRAPE, lines=0)
    with store() as server:
        last = fill(server, load, messages // SCRAPE)
        yield from report("batched", compare(server, last, rounds), SCRAPE, "samples/s")


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    messages, rounds = (QUICK_MESSAGES, QUICK_ROUNDS) if quick else (MESSAGES, ROUNDS)
    yield from single(messages, rounds)
    yield from batched(messages * 2, rounds)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    asked = parser.parse_args(arguments)
    return 0 if write(figures(quick=asked.quick), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
