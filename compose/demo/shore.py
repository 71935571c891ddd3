"""What lives on the link to the shore: the server of the shore services and the crew's gateway."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar, Final, NamedTuple

from compose.demo.device import Active, DeviceModel, Line, Value, backlog_of, suffers
from compose.demo.noise import daily

OUTAGE: Final = "satcom_outage"


class ShoreService(NamedTuple):
    """A service that talks to the shore: whom, and how soon (s) it notices that it cannot, and that it can again."""

    name: str
    peer: str
    notices: int
    recovers: int


SERVICES: Final = (
    ShoreService("mail-relay", "smtp.shore.example:25", 9, 14),
    ShoreService("erp-sync", "erp.shore.example:443", 14, 22),
    ShoreService("weather", "wx.shore.example:443", 26, 8),
)


class ShoreServer(DeviceModel):
    """The server of what needs the shore: mail, ERP, weather."""

    device_id, domain, service = "srv-shore-1", "app", "mail-relay"
    about: ClassVar = {
        "device_type": "server",
        "vendor": "Example Compute",
        "model": "S-120",
        "location": "IT rack",
        "criticality": "medium",
        "depends_on": ("rtr-2",),
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """The queues, which rise while the shore is out of reach and drain after, and the time a forecast takes."""
        waited = backlog_of(active, OUTAGE, after=10, drained=80)
        mail = 18 + 5 * daily(t, 14) + self.noise("mail", 3) + 1.1 * waited
        erp = 42 + 8 * daily(t, 11) + self.noise("erp", 6) + 2.4 * waited
        fetch = 900 + 40 * daily(t, 20) + self.noise("fetch", 60)
        if suffers(active, OUTAGE, after=SERVICES[2].notices, until=SERVICES[2].recovers):
            fetch = 10_000.0
        return [
            Value("queue_messages", max(0, round(mail)), service="mail-relay"),
            Value("queue_records", max(0, round(erp)), service="erp-sync"),
            Value("fetch_ms", fetch, "ms", service="weather"),
        ]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """What was exchanged, and each service's time-outs, from when it notices until its next try gets through."""
        for each in SERVICES:
            if suffers(active, OUTAGE, after=each.notices, until=each.recovers):
                if self.chance(12):
                    yield self.line("error", f"Connection to {each.peer} timed out after 8000 ms", service=each.name)
            elif self.chance(3):
                yield self.line("info", f"Exchange with {each.peer} done", service=each.name)
        mail = SERVICES[0]
        if suffers(active, "link_flap", after=6, until=0) and self.chance(8):
            yield self.line("warn", f"Connection to {mail.peer} timed out after 8000 ms", service=mail.name)


class CrewGateway(DeviceModel):
    """The gateway of the crew's Wi-Fi."""

    device_id, domain, service = "gw-crew-1", "net", "wifi"
    about: ClassVar = {
        "device_type": "gateway",
        "vendor": "Example Networks",
        "model": "W-300",
        "location": "crew deck",
        "criticality": "low",
        "depends_on": ("rtr-2",),
    }

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """Clients, and loss to the internet."""
        cut = suffers(active, OUTAGE, after=3, until=4)
        loss = 100.0 if cut else max(0.0, 0.4 + self.noise("loss", 0.12))
        return [
            Value("clients", max(0, round(46 + 22 * daily(t, 21) + self.noise("clients", 2.5)))),
            Value("packet_loss_pct", loss, "%"),
        ]

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """Who comes and goes, and the tries to reach the internet."""
        if self.chance(5):
            yield self.line("info", f"Station {self.rng.randint(1, 90)} joined, signal -{self.rng.randint(48, 75)} dBm")
        if suffers(active, OUTAGE, after=12, until=6) and self.chance(6):
            yield self.line("warn", "Captive portal check: connection to portal.example timed out")
