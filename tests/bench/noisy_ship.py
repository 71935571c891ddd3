"""The demo ship on a bad day for whoever watches it: what is no fault, but looks like one for a moment."""

import random
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from compose.demo.faults import CYCLE, SEED, Fault
from compose.demo.ship import DemoShip, Telemetry
from schemas.base import to_utc
from schemas.identity import content_uuid

LOGIN_EVERY_S: Final = 700
"""Of each device; three within 20 minutes would be an attack."""
HOSTS: Final = ("srv-app-1", "srv-db-1", "srv-shore-1")
MUTTERINGS: Final = (
    ("srv-app-1", "app", "booking", "Retrying DNS lookup of printer-3, attempt {n}"),
    ("srv-db-1", "app", "postgres", "checkpoints are occurring too frequently ({n} seconds apart)"),
    ("rtr-1", "net", "router", "ARP entry of 10.20.0.{n} refreshed late"),
    ("engine-1", "system", "engine", "Alarm acknowledged on panel {n}"),
)


class NoisyShip(DemoShip):
    """Adds single wild samples, late and repeated messages, mistyped passwords, and warnings that mean nothing.

    None of it lasts: a sample is wild once, a password is wrong twice within 20 minutes at most.
    noise counts what was added, by kind. State: what is late (at most 8 s).
    """

    def __init__(self, seed: int = SEED, ship_id: str = "ship-1", start: datetime | None = None) -> None:
        super().__init__(seed, ship_id, start)
        self._rng = random.Random(f"noise:{seed}:{ship_id}")
        self._late: deque[tuple[datetime, Telemetry]] = deque()
        self._phase = {host: self._rng.randrange(LOGIN_EVERY_S) for host in HOSTS}
        self.noise = dict.fromkeys(("wild", "late", "repeated", "login", "muttering"), 0)

    def step(self, t: datetime) -> list[Telemetry]:
        """What arrives in the second of t: some of it late, some of it twice."""
        t = to_utc(t)
        out = [*self._due(t), *self._mutter(t)]
        for subject, payload in super().step(t):
            sent = (subject, self._wild(payload))
            if self._chance("late", 0.01):
                self._late.append((t + timedelta(seconds=self._rng.randint(1, 8)), sent))
                continue
            out.append(sent)
            if self._chance("repeated", 0.01):
                out.append(sent)
        return out

    def _chance(self, kind: str, probability: float) -> bool:
        happens = self._rng.random() < probability
        self.noise[kind] += happens
        return happens

    def _due(self, t: datetime) -> list[Telemetry]:
        due = [sent for at, sent in self._late if at <= t]
        self._late = deque((at, sent) for at, sent in self._late if at > t)
        return due

    def _wild(self, payload: Any) -> Any:
        if not isinstance(payload, list) or not self._chance("wild", 0.002):
            return payload
        place = self._rng.randrange(len(payload))
        wild = {**payload[place], "metric_value": round(payload[place]["metric_value"] * self._rng.choice((0, 3)), 3)}
        return [*payload[:place], wild, *payload[place + 1 :]]

    def _mutter(self, t: datetime) -> list[Telemetry]:
        out: list[Telemetry] = []
        if self._chance("muttering", 0.1):
            device_id, domain, service, text = self._rng.choice(MUTTERINGS)
            out.append(self._line(t, device_id, domain, service, text.format(n=self._rng.randint(1, 9))))
        for host in HOSTS:
            if int(t.timestamp()) % LOGIN_EVERY_S == self._phase[host]:
                self.noise["login"] += 1
                port = self._rng.randint(1024, 60999)
                failed = f"Failed password for chief from 10.20.0.11 port {port} ssh2"
                out.append(self._line(t, host, "system", "sshd", failed))
        return out

    def _line(self, t: datetime, device_id: str, domain: str, service: str, msg: str) -> Telemetry:
        ts = t.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        common = {"ts": ts, "ship_id": self.ship_id, "domain": domain, "service": service, "device_id": device_id}
        identity = content_uuid("noise", f"{self.seed}:{self.ship_id}", ts, device_id, msg)
        return f"logs.ingested.{domain}.{service}", {**common, "tracking_id": identity, "level": "warn", "msg": msg}


class ShuffledShip(NoisyShip):
    """The same faults in an order of chance and close together, in the second half of each cycle.

    What shares a device (or what suffers with it) does not overlap, so that each anomaly has one cause; what
    shares device and incident type is apart for as long as an incident lasts after its fault. So faults
    up- and downstream of each other do overlap.
    """

    def cycle(self, start: datetime) -> list[Fault]:
        """The shuffled faults."""
        rng = random.Random(f"shuffled:{self.seed}:{start.isoformat()}")
        while (placed := self._placed(start, rng)) is None:
            pass
        return sorted(placed, key=lambda fault: fault.start)

    @staticmethod
    def _placed(start: datetime, rng: random.Random) -> list[Fault] | None:
        placed: list[Fault] = []
        for fault in sorted(DemoShip(rng.randrange(1 << 30)).cycle(start), key=lambda each: -len(each.affects)):
            room = int((WITHIN - fault.duration - fault.lingers).total_seconds())
            for _ in range(TRIES):
                moved = replace(fault, start=start + CYCLE / 2 + timedelta(seconds=rng.randrange(room)))
                if not any(_clash(moved, other) for other in placed):
                    placed.append(moved)
                    break
            else:
                return None
        return placed


WITHIN: Final = timedelta(minutes=25)
APART: Final = timedelta(seconds=480)
BETWEEN: Final = timedelta(seconds=60)
TRIES: Final = 200


def _clash(one: Fault, other: Fault) -> bool:
    first, second = sorted((one, other), key=lambda fault: fault.start)
    shared = {one.device_id, *one.affects} & {other.device_id, *other.affects}
    alike = (one.device_id, one.incident_type) == (other.device_id, other.incident_type)
    apart = APART if alike else BETWEEN
    return bool(shared) and second.start < first.end + first.lingers + apart
