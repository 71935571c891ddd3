"""A ship's correlator as a timeline: what comes at which second, and what people are told."""

from copy import copy
from typing import Any

from operators.correlate.ship import ShipCorrelator
from policy import Policy, PolicySet, load_policy
from schemas.anomaly import AnomalyEnriched
from schemas.incident import IncidentPublished, SuppressionRecord
from schemas.ops import AuditEvent, Device, OpsCommand
from tests.support.make import at, enriched

POLICY = load_policy(None).default


def changed(policy: Policy = POLICY, **correlate: Any) -> Policy:
    """The shipped policy with other values in its correlate segment."""
    return policy.model_copy(update={"correlate": policy.correlate.model_copy(update=correlate)})


def for_all(policy: Policy) -> PolicySet:
    """The policies of a fleet whose ships all live by this one."""
    policies = copy(load_policy(None))
    policies.default = policy
    return policies


class Ship:
    """Feeds one ship's correlator, and keeps what it says."""

    def __init__(self, policy: Policy = POLICY, **devices: tuple[str, ...]) -> None:
        self.policy = policy
        self.correlator = ShipCorrelator("aurora", policy)
        self.said: list[Any] = []
        self._commands = 0
        for name, depends_on in devices.items():
            self.device(name.replace("_", "-"), *(each.replace("_", "-") for each in depends_on))

    def device(self, device_id: str, *depends_on: str, **fields: Any) -> None:
        self.correlator.learn(Device(ship_id="aurora", device_id=device_id, depends_on=depends_on, **fields))

    def take(self, *anomalies: AnomalyEnriched) -> "Ship":
        for each in anomalies:
            self.said += [decision.message for decision in self.correlator.take(each, each.observed_at)]
        return self

    def until(self, seconds: float) -> "Ship":
        self.said += [decision.message for decision in self.correlator.advance(at(seconds))]
        return self

    def command(self, seconds: float, action: Any, incident_id: str | None = None, **fields: Any) -> AuditEvent:
        self._commands += 1
        known = {"command_id": f"c{self._commands}", "by": "chief", "reason": None, "args": {}, **fields}
        command = OpsCommand(ship_id="aurora", action=action, incident_id=incident_id, **known)
        self.said += [decision.message for decision in self.correlator.apply(command, at(seconds))]
        answer = self.said[-1]
        assert isinstance(answer, AuditEvent)
        return answer

    def restart(self, policy: Policy | None = None) -> "Ship":
        saved = self.correlator.snapshot()
        self.correlator = ShipCorrelator("aurora", policy or self.policy)
        self.correlator.restore(saved)
        return self

    @property
    def incidents(self) -> list[IncidentPublished]:
        return [message for message in self.said if isinstance(message, IncidentPublished)]

    @property
    def records(self) -> list[SuppressionRecord]:
        return [message for message in self.said if isinstance(message, SuppressionRecord)]

    @property
    def now(self) -> dict[str, IncidentPublished]:
        """The last revision of each incident."""
        return {each.incident_id: each for each in self.incidents}

    def by_status(self, status: str) -> list[IncidentPublished]:
        return [each for each in self.now.values() if each.status == status]

    def events(self, incident_id: str) -> list[str]:
        return [each.event for each in self.incidents if each.incident_id == incident_id]


def fires(seconds: float, device: str, incident_type: str, **fields: Any) -> AnomalyEnriched:
    """A metric of a device fires; it speaks of this type of incident."""
    series = fields.pop("series", f"aurora/{device}/node/{incident_type}")
    known = {"device_id": device, "incident_type": incident_type, "series": series}
    return enriched(seconds, **known, **fields)


def clears(seconds: float, device: str, incident_type: str, **fields: Any) -> AnomalyEnriched:
    """It has cleared."""
    return fires(seconds, device, incident_type, state="cleared", **{"score": 0.0, **fields})
