"""Kill real processes at random moments under load, and count what is lost, doubled or wrong: all must be 0.

    python -m tests.torture [--short] [--only NAME] [--seed N] [--rate N] [--json] [--keep DIR]

vessel 50 times (a third as detect and correlate in processes of their own), archive 50 times, nats-server 20
times, everything at once 10 times; then ClickHouse away for ten minutes, and a minute of three times what the
flows can take. Each run prints its seed; `--only NAME --seed N` runs it again. Exit code 1 when anything is
lost, doubled or wrong.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from operators.observability import configure_logging
from tests.bench.report import Figure, write
from tests.torture.leg import Leg, run_leg
from tests.torture.outage import run_outage
from tests.torture.pressure import run_pressure
from tests.torture.reckoning import Result

RATE = 1200.0
HALVES = ("detect", "correlate")
LEGS = (
    Leg("vessel", ("vessel",), 33),
    Leg("vessel_apart", HALVES, 17, apart=True),
    Leg("archive", ("archive",), 50),
    Leg("nats", ("nats",), 13),
    Leg("nats_apart", ("nats",), 7, apart=True),
    Leg("everything", ("nats", "vessel", "archive"), 7, at_once=True),
    Leg("everything_apart", ("nats", *HALVES, "archive"), 3, at_once=True, apart=True),
)
SHORT = (
    Leg("one_by_one", ("nats", "vessel", "archive"), 5),
    Leg("everything_apart", ("nats", *HALVES, "archive"), 1, at_once=True, apart=True),
)


Run = Callable[[int, Path, float], Result]
FLOOD = 120_000.0
"""Samples a second: some three times what the two flows take together on two cores."""


def runs(short: bool) -> dict[str, Run]:
    """Every run by name; it takes a seed, an empty folder and messages a second."""
    legs: dict[str, Run] = {leg.name: partial(run_leg, leg) for leg in (SHORT if short else LEGS)}
    away_s, seconds = (8.0, 2.0) if short else (600.0, 60.0)

    def outage(seed: int, folder: Path, rate: float) -> Result:
        return run_outage(seed, folder, rate, away_s=away_s)

    def pressure(seed: int, folder: Path, rate: float) -> Result:
        return run_pressure(seed, folder, samples=FLOOD, seconds=seconds)

    return {**legs, "clickhouse_away": outage, "pressure": pressure}


def figures(result: Result) -> Iterator[Figure]:
    """What came of a run."""
    name, audit = f"torture.{result.name}", result.audit
    yield Figure(f"{name}.seed", result.seed, "seed")
    yield Figure(f"{name}.messages", result.messages, "acknowledged")
    yield Figure(f"{name}.revisions", result.revisions, "published")
    for more, value in result.more.items():
        yield Figure(f"{name}.{more}", value, more.rpartition("_")[2])
    yield Figure(f"{name}.compared", audit.compared, "items")
    yield Figure(f"{name}.lost", len(audit.lost), "items", 0.0)
    yield Figure(f"{name}.doubled", len(audit.doubled), "items", 0.0)
    yield Figure(f"{name}.wrong", len(audit.wrong), "items", 0.0)
    yield Figure(f"{name}.duration", result.seconds, "s")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="six kills, two minutes in all")
    parser.add_argument("--only", help="one of them, by name")
    parser.add_argument("--seed", type=int, help="of the load and of the moments of death; drawn when not given")
    parser.add_argument("--rate", type=float, default=RATE, help="messages a second")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--keep", type=Path, help="run in this folder and leave everything there")
    asked = parser.parse_args(arguments)
    known = runs(asked.short)
    if asked.only not in (None, *known):
        parser.error(f"no run {asked.only!r}; there are {', '.join(known)}")
    configure_logging("error")
    bad = 0
    for name, run in known.items():
        if asked.only not in (None, name):
            continue
        seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
        with tempfile.TemporaryDirectory(prefix=f"torture-{name}-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary) if asked.keep is None else asked.keep / name
            folder.mkdir(parents=True, exist_ok=True)
            result = run(seed, folder, asked.rate)
        write(figures(result), as_json=asked.json)
        if not result.audit.is_clean:
            bad += 1
            sys.stderr.write(f"{name}, seed {seed}: {result.audit}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
