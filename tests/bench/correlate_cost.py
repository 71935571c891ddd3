"""What an anomaly costs in a ship's correlator with 1,000 open incidents and 1,000 silences, against an empty one."""

import gc
import pickle
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Final

from operators.correlate.ship import ShipCorrelator
from policy import Policy, load_policy
from schemas.anomaly import AnomalyEnriched
from schemas.ops import Device, OpsCommand
from tests.bench.report import Figure
from tests.support.make import at
from tests.support.ship import clears, fires

INCIDENTS: Final = 1000
SILENCES: Final = 1000
BATCH: Final = 200
GOAL_RATIO: Final = 2.0
GOAL_BYTES: Final = 2048.0
SHIP: Final = "aurora"


def policy() -> Policy:
    """The shipped one, with room for the incidents that are opened on top."""
    shipped = load_policy(None).default
    return shipped.model_copy(
        update={"correlate": shipped.correlate.model_copy(update={"max_open_incidents": 100_000})}
    )


def empty() -> ShipCorrelator:
    """A correlator that knows its devices and nothing else."""
    ship = ShipCorrelator(SHIP, policy())
    for n in range(20):
        ship.learn(Device(ship_id=SHIP, device_id=f"core-{n}"))
    for n in range(INCIDENTS):
        ship.learn(Device(ship_id=SHIP, device_id=f"dev-{n}", depends_on=(f"core-{n % 20}",)))
    return ship


def loaded() -> ShipCorrelator:
    """The same with open incidents on half its devices' worth of types, and silences that match none of them.

    Of ten silences one is a glob with a beginning, one a glob without; the others name a device. Opening is
    spread so far that no storm begins.
    """
    ship = empty()
    for n in range(SILENCES):
        device = {0: f"old-{n}-*", 5: f"*-{n}-old*"}.get(n % 10, f"quiet-{n}")
        matchers = {"device_id": device} | ({} if "*" in device else {"incident_type": "resource_pressure"})
        args = {"matchers": matchers, "duration_s": 604_000}
        command = OpsCommand(ship_id=SHIP, command_id=f"s{n}", action="silence", by="chief", reason="known", args=args)
        list(ship.apply(command, at(0)))
    for n in range(INCIDENTS):
        list(ship.take(fires(1 + 20 * n, f"dev-{n}", "resource_pressure"), at(1 + 20 * n)))
    return ship


BEGIN_S: Final = 1 + 20 * INCIDENTS + 1000


def absorbed(ship: ShipCorrelator, repeat: int) -> float:
    """Seconds an anomaly that joins the one open incident it belongs to."""
    begin = BEGIN_S + 1000 * repeat
    list(ship.take(fires(begin, "dev-7", "resource_pressure"), at(begin)))
    batch = [fires(begin + 0.01 * n, "dev-7", "resource_pressure", series=f"s{repeat}-{n}") for n in range(1, BATCH)]
    spent = _timed(ship, batch)
    for each in batch:
        list(ship.take(each.model_copy(update={"state": "cleared"}), at(begin + 10)))
    return spent


def opened(ship: ShipCorrelator, repeat: int) -> float:
    """Seconds an anomaly that opens an incident of its own, each on another device; a storm is kept away."""
    begin = 10_000_000 + BEGIN_S + 1_000_000 * repeat
    batch = [fires(begin + 20 * n, f"dev-{n}", "link_degradation") for n in range(BATCH)]
    spent = _timed(ship, batch)
    for n, each in enumerate(batch):
        list(ship.take(clears(begin + 20 * BATCH + n, each.device_id, "link_degradation"), at(begin + 20 * BATCH + n)))
    list(ship.advance(at(begin + 20 * BATCH + 10_000)))
    return spent


def _timed(ship: ShipCorrelator, batch: list[AnomalyEnriched]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = perf_counter()
        for each in batch:
            for _ in ship.take(each, each.observed_at):
                pass
        return (perf_counter() - began) / len(batch)
    finally:
        gc.enable()


def bytes_per_incident(ship: ShipCorrelator) -> tuple[float, float]:
    """Pickled bytes of an incident in the snapshot: beside its evidence, and with it."""
    incidents: list[dict[str, Any]] = ship.snapshot()["desk"]["incidents"]
    active = [each for each in incidents if each["incident"]["status"] != "resolved"]
    bare = [{**each, "incident": {**each["incident"], "evidence": []}} for each in active]
    return _mean_size(bare), _mean_size(active)


def _mean_size(saved: list[dict[str, Any]]) -> float:
    return sum(len(pickle.dumps(each)) for each in saved) / len(saved)


def cost_figures(repeats: int) -> Iterator[Figure]:
    """Costs, empty and loaded turn by turn (the best of the repeats), and the size of an incident."""
    without, full = empty(), loaded()
    beside, whole = bytes_per_incident(full)
    yield Figure("correlation.state.incident", beside, "bytes beside evidence", GOAL_BYTES)
    yield Figure("correlation.state.incident_and_evidence", whole, "bytes")
    for name, measure in (("absorb", absorbed), ("open", opened)):
        spent: dict[str, list[float]] = {"empty": [], "loaded": []}
        for repeat in range(repeats):
            for state, ship in (("empty", without), ("loaded", full)):
                spent[state].append(measure(ship, repeat) * 1e6)
        low, high = (min(spent[state]) for state in ("empty", "loaded"))
        yield Figure(f"correlation.cost.{name}.empty", low, "us/anomaly")
        yield Figure(f"correlation.cost.{name}.loaded", high, "us/anomaly")
        yield Figure(f"correlation.cost.{name}.loaded_over_empty", high / low, "times", GOAL_RATIO)
