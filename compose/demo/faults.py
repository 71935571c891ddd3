"""The schedule of faults: what goes wrong when, and which incident should say so."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from schemas.base import Domain

FaultKind = Literal[
    "ssh_brute_force",
    "link_down",
    "snr_fade",
    "disk_full",
    "engine_overheat",
    "app_timeouts",
    "memory_leak",
]

CYCLE: Final = timedelta(minutes=15)
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and the truth about it.

    From start to end the ship shows it; incident_type (of the shipped policy) is the incident that
    should open on device_id within opens_within of the start. detail is what varies: an address, a port.
    """

    kind: FaultKind
    domain: Domain
    device_id: str
    start: datetime
    duration: timedelta
    incident_type: str
    opens_within: timedelta
    detail: str = ""

    @property
    def end(self) -> datetime:
        """When the ship is well again."""
        return self.start + self.duration

    def progress(self, t: datetime) -> float | None:
        """How far it has gone, 0 to 1; None when it is not on at t."""
        if not self.start <= t < self.end:
            return None
        return (t - self.start) / self.duration


@dataclass(frozen=True, slots=True)
class _Plan:
    """One line of the schedule: offset into the cycle and how far it may move, all in seconds."""

    kind: FaultKind
    domain: Domain
    devices: tuple[str, ...]
    details: tuple[str, ...]
    offset: int
    jitter: int
    duration: int
    incident_type: str
    opens_within: int


_ATTACKERS = ("203.0.113.7", "203.0.113.42", "198.51.100.23", "198.51.100.77", "192.0.2.130")

_BEARINGS = ("bearing 3", "bearing 5")

# The first two open at once and come early, so that a newcomer sees an incident within a minute.
# The last third of the cycle is quiet but for what still has to clear.
_PLAN: Final = (
    _Plan("ssh_brute_force", "security", ("fw-1",), _ATTACKERS, 10, 0, 60, "auth_attack", 20),
    _Plan("link_down", "net", ("rtr-1", "rtr-2"), ("Gi0/1", "Gi0/2"), 14, 0, 90, "network_issue", 20),
    _Plan("snr_fade", "comms", ("vsat-1",), ("rain fade", "blockage"), 40, 5, 210, "link_degradation", 120),
    _Plan("app_timeouts", "app", ("srv-app-1",), ("srv-db-1:5432",), 150, 10, 60, "app_degradation", 20),
    _Plan("engine_overheat", "system", ("engine-1", "engine-2"), _BEARINGS, 240, 20, 220, "equipment_fault", 90),
    _Plan("disk_full", "system", ("srv-db-1",), ("/var/lib",), 330, 20, 240, "resource_pressure", 160),
    _Plan("memory_leak", "system", ("srv-app-1",), ("java",), 360, 20, 260, "resource_pressure", 260),
)


def cycle(start: datetime, seed: int = SEED) -> list[Fault]:
    """The faults of one cycle that begins at start, by start time; varied by seed and start."""
    rng = random.Random(f"{seed}:{start.isoformat()}")
    found = [_fault(plan, start, rng) for plan in _PLAN]
    return sorted(found, key=lambda fault: fault.start)


def faults(start: datetime, seed: int = SEED, cycles: int = 1) -> list[Fault]:
    """The faults of the first cycles from start, by start time."""
    return [fault for n in range(cycles) for fault in cycle(start + n * CYCLE, seed)]


def _fault(plan: _Plan, start: datetime, rng: random.Random) -> Fault:
    return Fault(
        kind=plan.kind,
        domain=plan.domain,
        device_id=rng.choice(plan.devices),
        start=start + timedelta(seconds=plan.offset + rng.randint(-plan.jitter, plan.jitter)),
        duration=timedelta(seconds=plan.duration),
        incident_type=plan.incident_type,
        opens_within=timedelta(seconds=plan.opens_within),
        detail=rng.choice(plan.details),
    )
