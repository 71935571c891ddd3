"""Processes: two share-nothing detect processes, each on its share of the subjects, against one on all of them.

`python -m tests.bench.processes --json [--quick]`. The same backlog in a real JetStream (80 % samples of 2,000
series on two domains, 20 % log lines), recovery on; each process has a recovery store of its own and they share
nothing but the server. value: messages a second of both together, from the first one's start to the last one's
end; floor: of the one. In turn, medians. The server runs beside them on the same cores, as it would on board.
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
MESSAGES, QUICK_MESSAGES = 200_000, 40_000
ROUNDS, QUICK_ROUNDS = 5, 3
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


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    messages, rounds = (QUICK_MESSAGES, QUICK_ROUNDS) if quick else (MESSAGES, ROUNDS)
    with store() as server:
        fill(server, ShipLoad(SERIES), messages)
        server.publish([("ops.tick", b"{}")])  # both shares end with it
        last = messages + 1
        pairs = [(rate(together(server, last, SHARES)), rate(together(server, last, ((),)))) for _ in range(rounds)]
    yield Figure("processes.two", median(two for two, _ in pairs), "messages/s", median(one for _, one in pairs))
    yield Figure("processes.speedup", median(two / one for two, one in pairs), "times one process")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    asked = parser.parse_args(arguments)
    write(figures(quick=asked.quick), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
