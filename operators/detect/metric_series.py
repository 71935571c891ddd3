"""One metric series: its detectors, fed in event-time order, and its dead man's switch."""

from binascii import unhexlify
from collections.abc import Sequence
from struct import Struct
from typing import Any, Literal, NamedTuple
from uuid import UUID

from operators.detect.choose import Detector
from operators.detect.finding import Finding, MetricDetector
from operators.detect.stale import Stale
from schemas.base import Domain, Severity
from schemas.telemetry import MetricSample

LATE_RUN = 20
_HEAD = Struct("<16s2dBB")
_UNKNOWN = float("-inf")


class Role(NamedTuple):
    """What a detector is there for: its kind, the policy rule it serves and what that rule says of a finding."""

    kind: str
    anomaly_type: str
    rule: str | None
    severity: Severity | None
    incident_type: str | None

    @property
    def name(self) -> str:
        """Its name in a snapshot."""
        return f"{self.kind}:{self.rule}" if self.rule else self.kind


class Subject(NamedTuple):
    """What series of one kind on many devices have in common."""

    domain: Domain
    service: str
    metric_name: str
    unit: str | None


class Watch(NamedTuple):
    """How a series is watched; one object for all series that policy treats alike. Valid values are inclusive."""

    subject: Subject
    roles: tuple[Role, ...]
    valid_min: float
    valid_max: float


class MetricSeries:
    """One series: feeds its detectors in event-time order and keeps what an anomaly must name.

    A sample older than the last one taken is late and changes nothing; after 20 late ones in a row
    the device's clock has been set back, and its new time counts. The tracking id of the last sample
    a second time is a duplicate. orphans: what fired under a policy that had it, to be cleared.
    place: ship and device. watched: whether its silence has been announced as something to be told.
    arrived and last_at: arrival and event time of the latest sample, in seconds since 1970. State:
    that of the detectors and of Stale, and 34 bytes in a snapshot.
    """

    __slots__ = (
        "_late_run",
        "_tracking",
        "arrived",
        "last_at",
        "machines",
        "orphans",
        "place",
        "stale",
        "watch",
        "watched",
    )

    def __init__(
        self,
        watch: Watch,
        machines: tuple[MetricDetector, ...],
        stale: Stale | None,
        place: tuple[str, str],
        tracking_id: str,
    ) -> None:
        self.watch = watch
        self.machines = machines
        self.stale = stale
        self.place = place
        self.orphans: tuple[Role, ...] = ()
        self.watched = False
        self._tracking = _packed(tracking_id)
        self.arrived = self.last_at = _UNKNOWN
        self._late_run = 0

    @property
    def tracking_id(self) -> str:
        """That of the latest sample."""
        return str(UUID(bytes=self._tracking))

    def update(
        self, sample: MetricSample
    ) -> Sequence[tuple[Role, Finding]] | Literal["late", "duplicate", "out_of_range"]:
        """The findings that this sample brings, or why it is not judged."""
        fields = vars(sample)  # a third of the time that a model's attributes take
        value = fields["metric_value"]
        _, roles, valid_min, valid_max = self.watch
        if not valid_min <= value <= valid_max:
            return "out_of_range"
        tracking = _packed(fields["tracking_id"])
        if tracking == self._tracking and self.last_at != _UNKNOWN:
            return "duplicate"
        at = fields["ts"].timestamp()
        if at < self.last_at and self._late_run < LATE_RUN:
            self._late_run += 1
            return "late"
        self._late_run = 0
        self.last_at = at
        self._tracking = tracking
        found: list[tuple[Role, Finding]] | None = None
        for machine in self.machines:
            finding = machine.update(at, value)
            if finding is not None:
                found = found or []
                found.append((roles[self.machines.index(machine)], finding))
        return found or ()

    def firing(self) -> list[Role]:
        """What has fired and not yet cleared."""
        return [role for role, machine in zip(self.watch.roles, self.machines, strict=True) if machine.firing]

    def snapshot(self) -> tuple[Any, ...]:
        """The state as plain data: a byte string, the detectors by name, which of them fire, the orphans."""
        head = pack_head(self._tracking, self.arrived, self.last_at, self._late_run, watched=self.watched)
        names = [role.name for role in self.watch.roles]
        return (
            head + (self.stale.pack() if self.stale is not None else b""),
            {name: machine.snapshot() for name, machine in zip(names, self.machines, strict=True)},
            [role.name for role in self.firing()],
            [role.name for role in self.orphans],
        )

    def restore(self, state: tuple[Any, ...]) -> None:
        """Take over a snapshot; a detector that fired and that policy no longer sets becomes an orphan."""
        packed, detectors, firing, orphans = state
        self._tracking, self.arrived, self.last_at, self._late_run, watched = _HEAD.unpack_from(packed)
        self.watched = bool(watched)
        if self.stale is not None and len(packed) > _HEAD.size:
            self.stale.unpack(packed[_HEAD.size :])
        names = {role.name: machine for role, machine in zip(self.watch.roles, self.machines, strict=True)}
        self.orphans = tuple(_orphan(name) for name in [*orphans, *(name for name in firing if name not in names)])
        for name, saved in detectors.items():
            if name in names:
                names[name].restore(saved)


def pack_head(tracking: bytes, arrived: float, last_at: float, late_run: int, *, watched: bool) -> bytes:
    """What a series keeps of itself, as 34 bytes."""
    return _HEAD.pack(tracking, arrived, last_at, late_run, watched)


def _packed(tracking_id: str) -> bytes:
    """A UUID in 16 bytes, a third of its text's memory."""
    return unhexlify(tracking_id.replace("-", ""))


def role_of(detector: Detector) -> Role:
    """What a detector is there for."""
    return Role(detector.kind, detector.anomaly_type, detector.rule, detector.severity, detector.incident_type)


def _orphan(name: str) -> Role:
    """A role by its name in a snapshot, only to say that it has cleared."""
    kind, _, rule = name.partition(":")
    return Role(kind, "metric_threshold" if kind == "threshold" else "metric_outlier", rule or None, None, None)
