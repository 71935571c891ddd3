"""What every model of a device on the simulated ship has."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from compose.demo.faults import Fault
from compose.demo.noise import Wander, ramp
from schemas.base import Domain


class Value(NamedTuple):
    """One metric value to send; service where it is not the device's."""

    name: str
    value: float
    unit: str | None = None
    labels: dict[str, str] | None = None
    service: str | None = None


class Line(NamedTuple):
    """One log line to send."""

    domain: Domain
    service: str
    level: str
    msg: str


Active = Sequence[tuple[Fault, float]]
"""The faults a device suffers just now, each with its progress from 0 to 1, above 1 while it lingers."""


class DeviceModel:
    """One device: its place on the ship, its metrics (each period_s seconds) and its log lines.

    State: the noise of each metric.
    """

    device_id: ClassVar[str]
    domain: ClassVar[Domain]
    service: ClassVar[str]
    about: ClassVar[dict[str, Any]]
    period_s: ClassVar[int] = 5

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._noise: dict[str, Wander] = {}

    def metrics(self, t: datetime, active: Active) -> list[Value]:
        """The values at t."""
        raise NotImplementedError

    def logs(self, t: datetime, active: Active) -> Iterator[Line]:
        """The lines of the second of t."""
        raise NotImplementedError

    def noise(self, name: str, sigma: float, phi: float = 0.8) -> float:
        """The next value of the named noise, around 0."""
        if name not in self._noise:
            self._noise[name] = Wander(self.rng, sigma, phi)
        return self._noise[name].next()

    def line(self, level: str, msg: str, *, service: str | None = None, domain: Domain | None = None) -> Line:
        """A log line of this device."""
        return Line(domain or self.domain, service or self.service, level, msg)

    def chance(self, per_minute: float) -> bool:
        """True as often as given, on average, when asked once a second."""
        return self.rng.random() < per_minute / 60


def level_of(active: Active, kind: str, rise: float) -> float:
    """How strongly a fault shows, 0 to 1; it grows over the first part (rise) of its time, and ends with it."""
    on = (progress for fault, progress in active if fault.kind == kind and progress < 1)
    return max((ramp(progress, rise) for progress in on), default=0.0)


def suffers(active: Active, kind: str, *, after: int, until: int) -> bool:
    """Whether a fault is felt: from `after` seconds past its start until `until` seconds past its end."""
    return any(
        after <= second_of(fault, progress) < fault.duration.total_seconds() + until
        for fault, progress in active
        if fault.kind == kind
    )


def backlog_of(active: Active, kind: str, *, after: int, drained: int) -> float:
    """What piles up in a fault, in seconds of work: from `after` seconds past its start; drained so long past its end.

    Shape: a straight rise to the end of the fault, and a straight fall to nothing.
    """
    return max((_backlog(*each, after, drained) for each in active if each[0].kind == kind), default=0.0)


def _backlog(fault: Fault, progress: float, after: int, drained: int) -> float:
    second, lasts = second_of(fault, progress), fault.duration.total_seconds()
    left = 1.0 - max(0.0, second - lasts) / drained
    return max(0.0, min(second, lasts) - after) * max(0.0, left)


def second_of(fault: Fault, progress: float) -> int:
    """How many seconds the fault has lasted."""
    return round(progress * fault.duration.total_seconds())
