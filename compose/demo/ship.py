"""The ship: devices that send metrics and log lines, well or under a fault."""

import random
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from compose.demo import faults as schedule
from compose.demo.device import DeviceModel, Line, Value
from compose.demo.faults import CYCLE, SEED, Fault
from compose.demo.machines import AppServer, DatabaseServer, Engine1, Engine2, Generator
from compose.demo.network import Firewall, Router1, Router2, Vsat
from compose.demo.shore import CrewGateway, ShoreServer
from schemas.base import SCHEMA_VERSION, to_utc
from schemas.identity import content_uuid
from schemas.ops import Device

DEVICES: Final[tuple[type[DeviceModel], ...]] = (
    Vsat,
    Router1,
    Router2,
    Firewall,
    AppServer,
    DatabaseServer,
    Engine1,
    Engine2,
    ShoreServer,
    CrewGateway,
    Generator,
)

Payload = dict[str, Any] | list[dict[str, Any]]
Telemetry = tuple[str, Payload]


class DemoShip:
    """A ship made of a seed: the same seed, start and steps give the same telemetry, ids included.

    Each device sends its metrics as one JSON array, every 5 s (spread over the seconds) or, an engine,
    every second, and log lines as they come. State: the noise of each metric and the faults of the running cycle.
    """

    def __init__(self, seed: int = SEED, ship_id: str = "ship-1", start: datetime | None = None) -> None:
        """Make the ship; the first cycle of faults begins at start, else at the first step."""
        self.seed = seed
        self.ship_id = ship_id
        self._start = to_utc(start) if start else None
        self._cycle_start: datetime | None = None
        self._faults: list[Fault] = []
        self._devices = [make(random.Random(f"{seed}:{ship_id}:{make.device_id}")) for make in DEVICES]

    def inventory(self) -> list[Telemetry]:
        """The ship's devices as messages for ops.device."""
        entries = (Device(ship_id=self.ship_id, device_id=made.device_id, **made.about) for made in self._devices)
        return [("ops.device", entry.to_dict()) for entry in entries]

    def faults(self, start: datetime, cycles: int = 1) -> list[Fault]:
        """The truth: what goes wrong in the first cycles of a ship started at start."""
        start = to_utc(start)
        return [fault for n in range(cycles) for fault in self.cycle(start + n * CYCLE)]

    def cycle(self, start: datetime) -> list[Fault]:
        """The faults of the cycle that begins at start."""
        return schedule.cycle(start, self.seed)

    def step(self, t: datetime) -> list[Telemetry]:
        """What the ship sends in the second of t, as (subject, payload)."""
        t = to_utc(t)
        active = self._active(t)
        sent: list[Telemetry] = []
        for index, device in enumerate(self._devices):
            name = device.device_id
            mine = [each for each in active if each[0].device_id == name or name in each[0].affects]
            if any(fault.kind == "device_silent" for fault, _ in mine):
                continue
            sent += self._logs(t, device, device.logs(t, mine))
            if (int(t.timestamp()) + index) % device.period_s == 0:
                sent.append(self._metrics(t, device, device.metrics(t, mine)))
        return sent

    def _active(self, t: datetime) -> list[tuple[Fault, float]]:
        if self._start is None:
            self._start = t
        cycle_start = self._start + (t - self._start) // CYCLE * CYCLE
        if cycle_start != self._cycle_start:
            self._cycle_start, self._faults = cycle_start, self.cycle(cycle_start)
        found = ((fault, fault.progress(t)) for fault in self._faults)
        return [(fault, progress) for fault, progress in found if progress is not None]

    def _logs(self, t: datetime, device: DeviceModel, lines: Iterable[Line]) -> list[Telemetry]:
        return [
            (
                f"logs.ingested.{line.domain}.{line.service}",
                self._common(t, device, line.domain, line.service, "log", n) | {"level": line.level, "msg": line.msg},
            )
            for n, line in enumerate(lines)
        ]

    def _metrics(self, t: datetime, device: DeviceModel, values: Iterable[Value]) -> Telemetry:
        samples = [
            self._common(t, device, device.domain, value.service or device.service, "metric", n)
            | {"metric_name": value.name, "metric_value": round(value.value, 3), "unit": value.unit}
            | ({"labels": value.labels} if value.labels else {})
            for n, value in enumerate(values)
        ]
        return f"metrics.ingested.{device.domain}.{device.device_id}", samples

    def _common(self, t: datetime, device: DeviceModel, domain: str, service: str, kind: str, n: int) -> dict[str, Any]:
        ts = t.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        seed = f"{self.seed}:{self.ship_id}"
        return {
            "schema_version": SCHEMA_VERSION,
            "tracking_id": content_uuid("demo", seed, ts, device.device_id, kind, str(n)),
            "ts": ts,
            "ship_id": self.ship_id,
            "domain": domain,
            "service": service,
            "device_id": device.device_id,
        }
