"""Metrics of the machine it runs on, so that a first start has something real to watch."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import psutil

from schemas.base import SCHEMA_VERSION

PERIOD_S: Final = 5.0
SERVICE: Final = "node"


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine's counters at one time. cpu_* in seconds, net_* in bytes, since the machine started."""

    at: datetime
    cpu_busy_s: float
    cpu_total_s: float
    mem_pct: float
    disk_pct: float
    net_rx_bytes: int
    net_tx_bytes: int
    load1: float


def read_host(at: datetime, disk: str = "/") -> Reading:
    """Read the counters of this machine; disk is any path on the file system to watch."""
    cpu = psutil.cpu_times()
    # guest time is contained in user time on Linux.
    total = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)
    net = psutil.net_io_counters()
    return Reading(
        at=at,
        cpu_busy_s=total - cpu.idle - getattr(cpu, "iowait", 0.0),
        cpu_total_s=total,
        mem_pct=psutil.virtual_memory().percent,
        disk_pct=psutil.disk_usage(disk).percent,
        net_rx_bytes=net.bytes_recv if net else 0,
        net_tx_bytes=net.bytes_sent if net else 0,
        load1=psutil.getloadavg()[0],
    )


def sample(now: Reading, previous: Reading | None, ship_id: str, host: str) -> list[dict[str, Any]]:
    """The samples of one scrape, each with a new tracking_id; rates only when there is a previous reading.

    cpu_pct, mem_pct and disk_pct in %, net_*_bytes_s in bytes a second, load1 as the system says it. A
    counter that went back (an interface went away) gives no rate rather than a wrong one.
    """
    values = {"mem_pct": (now.mem_pct, "%"), "disk_pct": (now.disk_pct, "%"), "load1": (now.load1, None)}
    seconds = (now.at - previous.at).total_seconds() if previous else 0.0
    if previous and seconds > 0:
        cpu_total = now.cpu_total_s - previous.cpu_total_s
        if cpu_total > 0:
            cpu_pct = 100 * (now.cpu_busy_s - previous.cpu_busy_s) / cpu_total
            values["cpu_pct"] = (min(100.0, max(0.0, cpu_pct)), "%")
        received = now.net_rx_bytes - previous.net_rx_bytes
        sent = now.net_tx_bytes - previous.net_tx_bytes
        if received >= 0 and sent >= 0:
            values["net_rx_bytes_s"] = (received / seconds, "B/s")
            values["net_tx_bytes_s"] = (sent / seconds, "B/s")
    return [
        {
            "schema_version": SCHEMA_VERSION,
            "tracking_id": str(uuid4()),
            "ts": now.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "ship_id": ship_id,
            "domain": "system",
            "service": SERVICE,
            "device_id": host,
            "metric_name": name,
            "metric_value": round(value, 3),
            "unit": unit,
        }
        for name, (value, unit) in values.items()
    ]


def host_name() -> str:
    """The name of this machine as a subject token and device_id (no dots, spaces or wildcards)."""
    name = socket.gethostname().partition(".")[0]
    return "".join(char if char.isalnum() or char in "-_" else "-" for char in name) or "host"


class HostMetrics:
    """Scrapes this machine: each call gives the samples since the call before, as one message.

    State: the last reading.
    """

    def __init__(self, ship_id: str, read: Callable[[datetime], Reading] = read_host, host: str | None = None) -> None:
        self.ship_id = ship_id
        self.host = host or host_name()
        self._read = read
        self._previous: Reading | None = None

    def produce(self, at: datetime) -> list[tuple[str, list[dict[str, Any]]]]:
        """One scrape as (subject, samples)."""
        now = self._read(at.astimezone(UTC))
        samples = sample(now, self._previous, self.ship_id, self.host)
        self._previous = now
        return [(f"metrics.ingested.system.{self.host}", samples)]
