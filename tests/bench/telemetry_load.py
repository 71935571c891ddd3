"""What a ship sends, in the shape that its collectors send it: samples of many series, log lines, few faults. Pure."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from schemas.identity import event_uuid

METRICS: tuple[tuple[str, str, float, float, float], ...] = (
    ("cpu_pct", "%", 35.0, 10.0, 97.0),
    ("mem_used_pct", "%", 60.0, 2.0, 97.0),
    ("disk_used_pct", "%", 55.0, 0.5, 97.0),
    ("load_1", "1", 1.5, 0.5, 40.0),
    ("temperature_c", "°C", 52.0, 2.0, 99.0),
    ("bearing_temp_c", "°C", 71.0, 1.0, 120.0),
    ("rf_snr_db", "dB", 12.0, 0.7, 3.0),
    ("latency_ms", "ms", 180.0, 30.0, 900.0),
    ("packet_loss_pct", "%", 0.5, 0.2, 20.0),
    ("net_rx_bytes_s", "B/s", 2e6, 4e5, 9e7),
)
"""Name, unit, usual value, how far it strays, value in a fault."""

LINES: tuple[tuple[str, str, str, str], ...] = (
    ("security.sshd", "info", "gw", "Accepted publickey for ops from 10.1.0.{a} port {b} ssh2"),
    ("app.nginx", "info", "web", '10.1.2.{a} - - "GET /api/cabins/{b} HTTP/1.1" 200 {c}'),
    ("app.pos", "info", "pos", "order {b} settled in {a} ms"),
    ("app.node", "info", "web", "request {b} served in {a} ms"),
    ("net.ifmgr", "warn", "rt", "Interface Gi0/{a}: {b} CRC errors in the last minute"),
    ("system.kernel", "info", "srv", "usb 1-{a}: new high-speed USB device number {b} using xhci_hcd"),
    ("comms.modem", "info", "vsat", "beacon level {a} dBm, pointing error {b} mdeg"),
    ("system.cron", "info", "srv", "(root) CMD (/usr/lib/sa/sa1 {a} {b})"),
    ("app.nginx", "error", "web", "upstream prematurely closed connection by 10.1.2.{a}, response header cut"),
    ("system.systemd", "info", "srv", "Started session {b} of user ops."),
)
"""Topic, level, device, text of usual lines."""

ATTACK = "Failed password for root from 203.0.113.{a} port {b} ssh2"
FAULT_EVERY = 200
"""One log line in so many is part of an attack: of five messages one is a line, so one message in 1,000."""

ATTACKED = 40
"""Devices that are attacked in turn."""

FAULT_ROUNDS = 32
"""Samples in a row that a series in a fault shows it."""

DOMAINS = ("system", "comms")
"""Of the devices, in turn."""

STREAM = 0x5EA5_0000_0001
SHIP = "ship-1"


class Wire(NamedTuple):
    """One message as it is published."""

    subject: str
    data: bytes


class ShipLoad:
    """The telemetry of one ship: series in turn, and log lines between.

    per_message: samples a message (a scrape of one device); 1: each alone. lines: of five messages, how many
    are log lines. faults_every: one message in so many is a line that opens an incident (0: none). Event time
    is given with each message. The same arguments give the same bytes.
    """

    def __init__(self, series: int, *, per_message: int = 1, lines: int = 1, faults_every: int = 0) -> None:
        self.series = series
        self._faults_every = faults_every
        self._per_message = per_message
        self._lines = lines
        self._each = each = max(per_message, 20)  # series of one device
        self._devices = [f"dev-{number // each}" for number in range(series)]
        self._names = [_name(number % each) for number in range(series)]

    def message(self, number: int, at: datetime) -> Wire:
        """Message `number`."""
        if self._faults_every and number % self._faults_every == self._faults_every // 2:
            return self.outage(number // self._faults_every, at)
        group, within = divmod(number, 5)
        if within < self._lines:
            return self.line(group * self._lines + within, at)
        return self.samples(group * (5 - self._lines) + within - self._lines, at)

    def samples(self, number: int, at: datetime) -> Wire:
        """Message `number` of those with samples."""
        first = number * self._per_message
        device = self._devices[first % self.series]
        subject = f"metrics.ingested.{DOMAINS[first % self.series // self._each % 2]}.{device}"
        if self._per_message == 1:
            return Wire(subject, _json(self.sample(first, at)))
        return Wire(subject, _json([self.sample(each, at) for each in range(first, first + self._per_message)]))

    def sample(self, number: int, at: datetime) -> dict[str, Any]:
        """Sample `number`: round by round, one of each series."""
        turn, series = divmod(number, self.series)
        _, unit, usual, strays, fault = METRICS[series % len(METRICS)]
        noise = _noise(number)
        is_fault = (series * 7919 + turn // FAULT_ROUNDS) % 1000 == 0
        body: dict[str, Any] = {
            "tracking_id": event_uuid(STREAM, number, 0),
            "ts": _text(at),
            "service": "node",
            "device_id": self._devices[series],
            "metric_name": self._names[series],
            "metric_value": round(fault + noise if is_fault else usual + strays * noise, 3),
            "unit": unit,
        }
        if series % 10 == 9:
            body["labels"] = {"interface": f"eth{series // 10 % 4}"}
        return body

    def line(self, number: int, at: datetime) -> Wire:
        """Log line `number`."""
        topic, level, device, text = LINES[number % len(LINES)]
        drawn = number * 2654435761 % 2**32
        place = drawn % 4
        if number % FAULT_EVERY == FAULT_EVERY // 2:
            topic, level, device, text = "security.sshd", "error", "gw", ATTACK
            place = number // FAULT_EVERY % ATTACKED
        body = {
            "tracking_id": event_uuid(STREAM, number, 1),
            "ts": _text(at),
            "device_id": f"{device}-{place}",
            "level": level,
            "msg": text.format(a=drawn % 250, b=drawn // 250 % 60_000, c=drawn % 9000),
        }
        return Wire(f"logs.ingested.{topic}", _json(body))

    def outage(self, number: int, at: datetime) -> Wire:
        """A line that opens an incident of its own: another device each time, on ten ships in turn."""
        body = {
            "tracking_id": event_uuid(STREAM, number, 2),
            "ts": _text(at),
            "ship_id": f"{SHIP}{number % 10}",
            "device_id": f"switch-{number}",
            "level": "error",
            "msg": f"Interface Gi0/{number % 48}, changed state to down",
        }
        return Wire("logs.ingested.net.ifmgr", _json(body))


def _name(number: int) -> str:
    name = METRICS[number % len(METRICS)][0]
    return name if number < len(METRICS) else f"{name}_{number // len(METRICS)}"


def _noise(number: int) -> float:
    """About normal, mean 0, deviation 1, the same for the same number: the sum of four even draws."""
    draw = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
    draw ^= draw >> 31
    draw = draw * 0xBF58476D1CE4E5B9 % 2**64
    total = (draw & 0xFFFF) + (draw >> 16 & 0xFFFF) + (draw >> 32 & 0xFFFF) + (draw >> 48)
    return (total / 65_535 - 2.0) * 1.7320508


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
