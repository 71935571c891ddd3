"""The servers and the engines: how each looks well, and under its faults."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from compose.demo.device import Active, DeviceModel, Line, Value, level_of, second_of
from compose.demo.noise import daily


class Server(DeviceModel):
    """A server: processor, memory, disk."""

    domain, service = "system", "node"
    base: ClassVar[tuple[float, float, float]]

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Processor, memory and disk; a leak and a filling disk go up slowly to the top."""
        cpu, mem, disk = self.base
        leak = level_of(active, "memory_leak", 0.6)
        full = level_of(active, "disk_full", 0.4)
        busy = level_of(active, "app_timeouts", 0.1)
        return [
            Value("cpu_pct", _pct(cpu + 8 * daily(t) + self.noise("cpu", 4) + 15 * busy), "%"),
            Value("mem_pct", _pct(mem + 2 * daily(t) + self.noise("mem", 0.8) + (98.5 - mem) * leak), "%"),
            Value("disk_pct", _pct(disk + self.noise("disk", 0.05) + (97.5 - disk) * full), "%"),
        ]


class AppServer(Server):
    """The server of the ship's applications."""

    device_id = "srv-app-1"
    base = (35.0, 58.0, 47.0)
    about: ClassVar = {
        "device_type": "server",
        "vendor": "Example Compute",
        "model": "S-220",
        "location": "IT rack",
        "criticality": "medium",
        "depends_on": ("srv-db-1", "rtr-1"),
    }

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Requests served, time-outs towards the database, the kernel out of memory."""
        if self.chance(24 + 10 * daily(t, 20)):
            yield self._app("info", f"GET /api/cabins 200 {self.rng.randint(8, 60)} ms")
        if self.chance(8):
            yield self._app("info", f"Booking {self.rng.randint(10_000, 99_999)} saved in {self.rng.randint(5, 40)} ms")
        for fault, progress in active:
            if fault.kind == "app_timeouts":
                for _ in range(self.rng.randint(2, 4)):
                    yield self._app("error", f"Connection to {fault.detail} timed out after 5000 ms")
            elif fault.kind == "log_storm":
                for _ in range(self.rng.randint(20, 30)):
                    till = f"till {self.rng.randint(1, 24)}: connection to {fault.detail} timed out, sale kept back"
                    yield self.line("error", till, service="sales", domain="app")
            elif fault.kind == "memory_leak" and second_of(fault, progress) == 250:
                killed = f"Killed process {self.rng.randint(2000, 9000)} ({fault.detail})"
                sizes = "total-vm:8123456kB, anon-rss:7712340kB"
                yield self.line("critical", f"Out of memory: {killed} {sizes}", service="kernel")

    def _app(self, level: str, msg: str) -> Line:
        return self.line(level, msg, service="booking", domain="app")


class DatabaseServer(Server):
    """The database server."""

    device_id = "srv-db-1"
    base = (28.0, 66.0, 61.0)
    about: ClassVar = {
        "device_type": "server",
        "vendor": "Example Compute",
        "model": "S-220",
        "location": "IT rack",
        "criticality": "high",
        "depends_on": ("rtr-1",),
    }

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Checkpoints, and failed writes when the disk is full."""
        if self.chance(4):
            yield self._db("info", f"checkpoint complete: wrote {self.rng.randint(40, 900)} buffers")
        if level_of(active, "disk_full", 0.4) >= 1 and self.chance(12):
            yield self._db("error", "could not extend file base/16384/2619: No space left on device")

    def _db(self, level: str, msg: str) -> Line:
        return self.line(level, msg, service="postgres", domain="app")


class Engine(DeviceModel):
    """One main engine's sensors."""

    domain, service = "system", "engine"
    period_s = 1
    about: ClassVar = {
        "device_type": "engine",
        "vendor": "Example Marine",
        "model": "8L-46",
        "location": "engine room",
        "criticality": "critical",
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Bearing temperature, oil pressure and vibration; an overheating bearing shows in all three."""
        heat = level_of(active, "engine_overheat", 0.25)
        return [
            Value("bearing_temp_c", 71 + 1.5 * daily(t, 16) + self.noise("temp", 0.6, 0.95) + 36 * heat, "C"),
            Value("oil_pressure_bar", 4.6 + self.noise("oil", 0.05) - 0.5 * heat, "bar"),
            Value("vibration_mm_s", max(0.0, 2.8 + self.noise("vibration", 0.18) + 3.0 * heat), "mm/s"),
        ]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """The watch's routine line, and the alarm of the engine's own controller."""
        if self.chance(2):
            yield self.line("info", f"Load {self.rng.randint(68, 74)} %, speed {self.rng.randint(498, 502)} rpm")
        for fault, _ in active:
            if fault.kind == "engine_overheat" and level_of(active, fault.kind, 0.25) >= 1 and self.chance(6):
                yield self.line("warn", f"Temperature of {fault.detail} high: {self.rng.randint(104, 109)} C")


class Engine1(Engine):
    """The port engine."""

    device_id = "engine-1"


class Engine2(Engine):
    """The starboard engine."""

    device_id = "engine-2"


class Generator(DeviceModel):
    """The harbour generator's sensors."""

    device_id, domain, service = "gen-1", "system", "generator"
    about: ClassVar = {
        "device_type": "generator",
        "vendor": "Example Marine",
        "model": "G-400",
        "location": "engine room",
        "criticality": "high",
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Coolant, frequency and load; a broken sensor runs off to the end of its scale and stays there."""
        coolant = 82 + 1.2 * daily(t, 16) + self.noise("coolant", 0.7, 0.9)
        coolant += 90 * level_of(active, "sensor_stuck", 0.2)
        return [
            Value("coolant_temp_c", min(150.0, coolant), "C"),
            Value("frequency_hz", 60 + self.noise("frequency", 0.03), "Hz"),
            Value("load_kw", 240 + 30 * daily(t, 19) + self.noise("load", 9, 0.9), "kW"),
        ]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """The routine line, and the controller's complaint about a sensor at the end of its scale."""
        if self.chance(1):
            yield self.line("info", f"Load shared, {self.rng.randint(220, 260)} kW")
        for fault, progress in active:
            if fault.kind == "sensor_stuck" and second_of(fault, progress) % 30 == 29:
                yield self.line("warn", f"Sensor {fault.detail} out of range: 150.0 C")


def _pct(value: float) -> float:
    return min(100.0, max(0.0, value))
