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
    "satcom_outage",
    "log_storm",
    "sensor_stuck",
    "link_flap",
    "device_silent",
]

CYCLE: Final = timedelta(minutes=60)
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and the truth about it.

    From start to end the ship shows it; incident_type (of the shipped policy) is the incident that
    should open on device_id within opens_within of the start. detail is what varies: an address, a port.
    affects: devices that suffer with it, up to lingers after its end; they are that incident's impact,
    not incidents of their own.
    """

    kind: FaultKind
    domain: Domain
    device_id: str
    start: datetime
    duration: timedelta
    incident_type: str
    opens_within: timedelta
    detail: str = ""
    affects: tuple[str, ...] = ()
    lingers: timedelta = timedelta(0)

    @property
    def end(self) -> datetime:
        """When the ship is well again."""
        return self.start + self.duration

    def progress(self, t: datetime) -> float | None:
        """How far it has gone, 0 to 1, above 1 while it lingers; None when nothing of it shows at t."""
        if not self.start <= t < self.end + self.lingers:
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
    affects: tuple[str, ...] = ()
    lingers: int = 0


_ATTACKERS = ("203.0.113.7", "203.0.113.42", "198.51.100.23", "198.51.100.77", "192.0.2.130")

_BEARINGS = ("bearing 3", "bearing 5")

_BLOCKED = ("blocked by the funnel", "antenna stowed", "BUC fault")

_ASHORE = ("rtr-2", "srv-shore-1", "gw-crew-1")

# The first two open at once and come early, so that a newcomer sees an incident within a minute.
# Faults overlap, but none has another's devices in its reach before the other's incident has ended.
# The second half of the cycle is quiet, so that the next one opens incidents anew: what returns within
# the half hour after its incident resolved opens that again, and holds it longer each time.
_PLAN: Final = (
    _Plan("ssh_brute_force", "security", ("fw-1",), _ATTACKERS, 10, 0, 60, "auth_attack", 20),
    _Plan("link_down", "net", ("rtr-1", "rtr-2"), ("Gi0/1", "Gi0/2"), 14, 0, 90, "network_issue", 20),
    _Plan("snr_fade", "comms", ("vsat-1",), ("rain fade", "blockage"), 40, 5, 210, "link_degradation", 120),
    _Plan("app_timeouts", "app", ("srv-app-1",), ("srv-db-1:5432",), 150, 10, 60, "app_degradation", 20),
    _Plan("engine_overheat", "system", ("engine-1", "engine-2"), _BEARINGS, 240, 20, 220, "equipment_fault", 90),
    _Plan("disk_full", "system", ("srv-db-1",), ("/var/lib",), 330, 20, 240, "resource_pressure", 160),
    _Plan("memory_leak", "system", ("srv-app-1",), ("java",), 360, 20, 260, "resource_pressure", 260),
    _Plan("satcom_outage", "comms", ("vsat-1",), _BLOCKED, 480, 10, 240, "comms_outage", 10, _ASHORE, 90),
    _Plan("log_storm", "app", ("srv-app-1",), ("payments-1:8443",), 760, 20, 90, "app_degradation", 20),
    _Plan("sensor_stuck", "system", ("gen-1",), ("coolant_temp_c",), 900, 20, 200, "equipment_fault", 120),
    _Plan("link_flap", "net", ("rtr-2",), ("Gi0/2",), 1200, 10, 150, "network_issue", 20, ("srv-shore-1",)),
    _Plan("device_silent", "net", ("gw-crew-1", "gen-1"), ("power",), 1250, 20, 340, "stale_telemetry", 330),
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
        affects=plan.affects,
        lingers=timedelta(seconds=plan.lingers),
    )
