"""Processes: two share-nothing detect processes, each on its share of the subjects, against one on all of them.

`python -m tests.bench.processes --json [--quick]`. The same backlog in a real JetStream, recovery on; each process
has a recovery store of its own and they share nothing but the server. batched: samples of 2,000 series on two
domains, 50 a message. single: one sample or line a message. value: messages a second of both together, all
beginning at once; floor: of the one; in turn, medians. The server works on the same cores, as on board, and so
does whatever else the machine is doing: by_processor is the speed-up that processor time allows, that of the one
process over that of the slower of the two.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.jetstream_flow import Run, go_together, in_child, result
from tests.bench.report import Figure, write
from tests.bench.telemetry_load import ShipLoad
from tests.bench.telemetry_store import fill, forget_outputs, store
from tests.support.nats import Server

SERIES = 2000
SCRAPE = 50
MESSAGES = 200_000
SCRAPES, QUICK_SCRAPES = 10_000, 2_000
ROUNDS, QUICK_ROUNDS = 5, 1
LEAST = {"batched": 1.5, "single": 1.2}
"""What by_processor must not fall below."""

SHARES = (
    ("metrics.ingested.system.>", "logs.ingested.system.>", "logs.ingested.app.>"),
    ("metrics.ingested.comms.>", "logs.ingested.comms.>", "logs.ingested.net.>", "logs.ingested.security.>"),
)


def together(server: Server, last: int, shares: tuple[tuple[str, ...], ...]) -> list[Run]:
    """A process for each share, at the same time; no share: one process that reads all."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        children = [
            in_child(
                "detect",
                server,
                last,
                Path(folder) / str(number),
                WATCHKEEPER_DETECT_SUBJECTS=json.dumps(share),
                BENCH_BARRIER=folder,
            )
            for number, share in enumerate(shares)
        ]
        go_together(children, Path(folder))
        runs = [result(child) for child in children]
    forget_outputs(server)
    return runs


def rate(runs: list[Run]) -> float:
    """Messages a second of all together."""
    began, ended = min(run.began for run in runs), max(run.began + run.seconds for run in runs)
    return sum(run.messages for run in runs) / (ended - began)


def compare(name: str, load: ShipLoad, messages: int, rounds: int) -> Iterator[Figure]:
    """The figures of one load."""
    with store() as server:
        fill(server, load, messages)
        server.publish([("ops.tick", b"{}")])  # both shares end with it
        last = messages + 1
        pairs = [(together(server, last, SHARES), together(server, last, ((),))) for _ in range(rounds)]
    rates = [(rate(two), rate(one)) for two, one in pairs]
    yield Figure(
        f"processes.{name}.two", median(two for two, _ in rates), "messages/s", median(one for _, one in rates)
    )
    yield Figure(f"processes.{name}.speedup", median(two / one for two, one in rates), "times one process")
    by_processor = (one[0].cpu_seconds / max(run.cpu_seconds for run in two) for two, one in pairs)
    yield Figure(f"processes.{name}.by_processor", median(by_processor), "times one process", least=LEAST[name])


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    scrapes = ShipLoad(SERIES, per_message=SCRAPE, lines=0)
    yield from compare("batched", scrapes, QUICK_SCRAPES if quick else SCRAPES, rounds)
    if quick:
        return
    yield from compare("single", ShipLoad(SERIES), MESSAGES, rounds)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    asked = parser.parse_args(arguments)
    return 0 if write(figures(quick=asked.quick), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
