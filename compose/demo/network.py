"""The satellite modem, the routers and the firewall: how each looks well, and under its faults."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar, Final

from compose.demo.device import Active, DeviceModel, Line, Value, level_of, second_of
from compose.demo.faults import Fault
from compose.demo.noise import daily

WAN_PORT: Final = "Gi0/2"


class Vsat(DeviceModel):
    """The satellite modem."""

    device_id, domain, service = "vsat-1", "comms", "vsat"
    about: ClassVar = {
        "device_type": "modem",
        "vendor": "Example Satcom",
        "model": "VX-900",
        "location": "radar mast",
        "criticality": "high",
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Signal, latency and loss; a fade takes 8.5 dB, without carrier nothing comes through."""
        fade, lost = level_of(active, "snr_fade", 0.12), level_of(active, "satcom_outage", 0.02)
        snr = 12.0 + 0.3 * daily(t, 4) + self.noise("snr", 0.35) - 8.5 * fade - 12.5 * lost
        latency = 285 + 12 * daily(t, 20) + self.noise("latency", 14) + 420 * fade + 1700 * lost
        loss = min(100.0, max(0.0, 0.15 + self.noise("loss", 0.06) + 9.0 * fade + 100 * lost))
        return [Value("rf_snr_db", snr, "dB"), Value("latency_ms", latency, "ms"), Value("packet_loss_pct", loss, "%")]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Carrier reports, warnings while the signal fades, and the search for a carrier that is lost."""
        for fault, progress in active:
            if fault.kind == "satcom_outage":
                yield from self._search(fault, second_of(fault, progress))
        if level_of(active, "satcom_outage", 0.02):
            return
        if self.chance(2):
            yield self.line("info", f"Carrier lock held, Es/N0 {11.5 + self.rng.random():.1f} dB")
        if self.chance(1):
            yield self.line("info", f"Beam {self.rng.randint(10, 19)} return link rate {self.rng.randint(4, 8)} Mbit/s")
        if level_of(active, "snr_fade", 0.12) >= 1 and self.chance(4):
            yield self.line("warn", f"Es/N0 below threshold: {3 + self.rng.random():.1f} dB, modulation lowered")

    def _search(self, fault: Fault, second: int) -> Iterator[Line]:
        if second == 2:
            yield self.line("error", f"Carrier lock lost: {fault.detail}")
        elif second == fault.duration.total_seconds() + 1:
            yield self.line("info", "Carrier lock acquired, Es/N0 11.9 dB")
        elif second % 20 == 0 and 0 < second < fault.duration.total_seconds():
            yield self.line("error", f"Carrier lock lost, sweep {second // 20}: no signal")


class Router(DeviceModel):
    """One router with two ports."""

    domain, service = "net", "router"
    ports: ClassVar = ("Gi0/1", "Gi0/2")
    about: ClassVar = {
        "device_type": "router",
        "vendor": "Example Networks",
        "model": "R-1100",
        "location": "IT rack",
        "criticality": "high",
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Processor, loss, and traffic of each port; a port that is down carries nothing."""
        down = {fault.detail for fault, _ in active if fault.kind in ("link_down", "link_flap")}
        values = [
            Value("cpu_pct", 18 + 6 * daily(t) + self.noise("cpu", 2.5) + (12 if down else 0), "%"),
            Value("packet_loss_pct", max(0.0, 0.05 + self.noise("loss", 0.03) + (2.5 if down else 0)), "%"),
        ]
        for port in self.ports:
            rate = max(0.0, 4.2e6 * (1 + 0.4 * daily(t, 20) + self.noise(port, 0.1)))
            if port == WAN_PORT and level_of(active, "satcom_outage", 0.02):
                rate *= 0.02
            values.append(Value("rx_bytes_s", 0.0 if port in down else rate, "B/s", {"port": port}))
        return values

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Routine lines, and the link going down, flapping and coming back."""
        if self.chance(2):
            yield self.line("info", f"NTP synchronised to 10.20.0.1, offset {self.rng.randint(-9, 9)} ms")
        if self.chance(1):
            yield self.line("info", f"Configuration archive saved, {self.rng.randint(180, 260)} lines")
        for fault, progress in active:
            if fault.kind == "link_down":
                yield from self._link(fault, second_of(fault, progress))
            elif fault.kind == "link_flap":
                yield from self._flap(fault, second_of(fault, progress))

    def _link(self, fault: Fault, second: int) -> Iterator[Line]:
        if second in (0, 30):
            yield self.line("error", f"Interface {fault.detail}, changed state to down")
        elif second in (1, 31):
            yield self.line("error", f"Line protocol on Interface {fault.detail}, changed state to down")
        elif second in (24, round(fault.duration.total_seconds()) - 1):
            yield self.line("info", f"Interface {fault.detail}, changed state to up")

    def _flap(self, fault: Fault, second: int) -> Iterator[Line]:
        """Down for 4 s, up for 3 to 11."""
        at = second % 23
        if at in (0, 7) or (at == 15 and second < fault.duration.total_seconds() - 4):
            yield self.line("error", f"Interface {fault.detail}, changed state to down")
        elif at in (4, 11, 19):
            yield self.line("info", f"Interface {fault.detail}, changed state to up")


class Router1(Router):
    """The first router."""

    device_id = "rtr-1"


class Router2(Router):
    """The second router: by its second port the ship reaches the shore."""

    device_id = "rtr-2"
    about: ClassVar = {**Router.about, "depends_on": ("vsat-1",)}


_ATTACKED_USERS: Final = ("root", "root", "admin", "invalid user oracle", "invalid user test")


class Firewall(DeviceModel):
    """The firewall, whose SSH port is seen from outside."""

    device_id, domain, service = "fw-1", "security", "firewall"
    about: ClassVar = {
        "device_type": "firewall",
        "vendor": "Example Networks",
        "model": "FW-60",
        "location": "IT rack",
        "criticality": "critical",
        "depends_on": ("vsat-1",),
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Sessions and processor; an attack adds some of both."""
        attacked = level_of(active, "ssh_brute_force", 0.05)
        sessions = round(840 + 260 * daily(t, 20) + self.noise("sessions", 35) + 40 * attacked)
        return [
            Value("sessions", sessions, None),
            Value("cpu_pct", 22 + 5 * daily(t, 20) + self.noise("cpu", 2.5) + 8 * attacked, "%"),
        ]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Log-ins of the ship's own people, and the attacker's tries."""
        port = self.rng.randint(32768, 60999)
        if self.chance(3):
            host = self.rng.randint(10, 30)
            accepted = f"Accepted publickey for backup from 10.20.0.{host} port {port} ssh2"
            yield self.line("info", accepted, service="sshd")
        if self.chance(6):
            yield self.line("info", f"Policy 12 accept tcp 10.30.2.{self.rng.randint(2, 250)}:{port} to port 443")
        for fault, _ in active:
            if fault.kind != "ssh_brute_force":
                continue
            for _ in range(self.rng.randint(2, 4)):
                user = self.rng.choice(_ATTACKED_USERS)
                port = self.rng.randint(1024, 60999)
                failed = f"Failed password for {user} from {fault.detail} port {port} ssh2"
                yield self.line("warn", failed, service="sshd")
