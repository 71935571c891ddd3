"""What situation an anomaly speaks of: its incident type and correlation key."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from policy import Policy
from policy.correlate import IncidentTypePolicy
from schemas.anomaly import AnomalyEnriched


class Situation(NamedTuple):
    """An incident type with its policy, and the values that anomalies of one situation share."""

    incident_type: str
    policy: IncidentTypePolicy
    corr_keys: dict[str, str]

    @property
    def key(self) -> str:
        """The correlation key as one text."""
        return "|".join([self.incident_type, *(f"{name}={value}" for name, value in sorted(self.corr_keys.items()))])


def classify(anomaly: AnomalyEnriched, policy: Policy) -> Situation:
    """The situation by the anomaly's own incident type, else policy's first matching rule, else the default.

    A key that the anomaly lacks equals nothing: its series stands in, so it joins no other series.
    """
    types = policy.correlate.incident_types
    named = anomaly.incident_type
    incident_type = named if named is not None and named in types else _by_rule(anomaly, policy)
    rules = types[incident_type]
    keys = {name: _value(anomaly, name) for name in rules.keys}
    return Situation(incident_type, rules, keys)


def _by_rule(anomaly: AnomalyEnriched, policy: Policy) -> str:
    for rule in policy.correlate.rules:
        match = rule.match
        if (
            match.domain in (None, anomaly.domain)
            and match.anomaly_type in (None, anomaly.anomaly_type)
            and _like(anomaly.rule, match.rule)
            and _like(anomaly.metric_name, match.metric)
        ):
            return rule.incident_type
    return policy.correlate.default_incident_type


def _like(value: str | None, glob: str | None) -> bool:
    return glob is None or glob == "*" or (value is not None and fnmatchcase(value, glob))


def _value(anomaly: AnomalyEnriched, name: str) -> str:
    is_field = name.startswith("fields.")
    value = anomaly.fields.get(name.removeprefix("fields.")) if is_field else getattr(anomaly, name)
    return value or f"?{anomaly.series}"
