"""State: what many series cost while 10,000 samples a second flow: pause at the end of an epoch, store, restart.

`python -m tests.bench.state --json [--quick]`. The vessel flow as shipped (core-fast, recovery on), read live
from a real JetStream, 50 samples a message. pause: how long the flow reads nothing around the end of an epoch,
P99 over the epochs after every series has been seen. capacity: samples a second of processor time. store: the
recovery store's size. restart: from the start of a new process on that store to its first message; the floor
is the same on an empty store. `--sweep` tries slots and epochs instead, with 100,000 series.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import time

from tests.bench.jetstream_flow import Run, in_child, result
from tests.bench.live import sent_by, start
from tests.bench.report import Figure, write
from tests.bench.telemetry_store import forget_outputs, store
from tests.support.nats import Server

RATE = 10_000
SCRAPE = 50
COUNTS, QUICK_COUNTS = (1_000, 10_000, 100_000), (10_000,)
SWEEP = [(slots, epoch) for slots in (16, 64, 256) for epoch in (1.0, 5.0)]
MB = 1_000_000


def measure(server: Server, folder: Path, series: int, seconds: float, **settings: str) -> tuple[Run, float, float]:
    """A live run, and the time that a restart on its store takes, and that on an empty one."""
    last = server.last_sequence("TELEMETRY")
    messages = int(RATE / SCRAPE * seconds)
    child = in_child("vessel", server, last + messages, folder, **settings)
    producer = start(server, series, RATE / SCRAPE, seconds, per_message=SCRAPE, lines=0)
    sent_by(producer)
    run = result(child)
    again = start(server, series, RATE / SCRAPE, 0.5, per_message=SCRAPE, lines=0)
    sent_by(again)
    end = server.last_sequence("TELEMETRY")
    restart = _restart(server, folder, end, **settings)
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as empty:
        fresh = _restart(server, Path(empty), end, **settings)
    return run, restart, fresh


def _restart(server: Server, folder: Path, last: int, **settings: str) -> float:
    begun = time()
    return result(in_child("vessel", server, last, folder, **settings)).began - begun


def size(folder: Path) -> int:
    """Bytes of everything in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def report(name: str, series: int, seconds: float, **settings: str) -> Iterator[Figure]:
    """The figures for so many series."""
    with store() as server, tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as folder:
        run, restart, fresh = measure(server, Path(folder), series, seconds, **settings)
        stored = size(Path(folder) / "recovery")
        forget_outputs(server)
    warm = int(len(run.pauses) * min(0.9, series / RATE / seconds))
    pauses = sorted(run.pauses[warm:])
    yield Figure(f"{name}.throughput", run.messages * SCRAPE / run.seconds, "samples/s", RATE)
    yield Figure(f"{name}.capacity", run.messages * SCRAPE / run.cpu_seconds, "samples/s of processor")
    yield Figure(f"{name}.pause.p50", pauses[len(pauses) // 2] * 1000, "ms")
    yield Figure(f"{name}.pause.p99", pauses[int(len(pauses) * 0.99)] * 1000, "ms")
    yield Figure(f"{name}.store", stored / MB, "MB")
    yield Figure(f"{name}.restart", restart, "s", fresh)


def duration(series: int, *, quick: bool) -> float:
    """Seconds: until each series was seen, and some epochs more."""
    return series / RATE + (5 if quick else 20)


def figures(*, quick: bool, sweep: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    if sweep:
        for slots, epoch in SWEEP:
            settings = {"WATCHKEEPER_DETECT_SLOTS": str(slots), "WATCHKEEPER_EPOCH_S": str(epoch)}
            yield from report(f"state.{slots}_slots.{epoch:g}_s", COUNTS[-1], 40, **settings)
        return
    for series in QUICK_COUNTS if quick else COUNTS:
        yield from report(f"state.{series}_series", series, duration(series, quick=quick))


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="fewer series")
    parser.add_argument("--sweep", action="store_true", help="100,000 series in several numbers of slots and epochs")
    asked = parser.parse_args(arguments)
    return 0 if write(figures(quick=asked.quick, sweep=asked.sweep), as_json=asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
