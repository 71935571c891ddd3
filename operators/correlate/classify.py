"""What situation an anomaly speaks of: its incident type, correlation key and terms."""

import re
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from operators.correlate.bounds import KEY_BYTES, identity
from policy import Policy
from policy.correlate import CorrelateRule, IncidentTypePolicy
from schemas.anomaly import AnomalyDetected
from schemas.base import Severity

_NOBODY: Final = re.compile(
    r"|\[[a-z_]+\]|localhost(\.\S*)?|(::ffff:)?127(\.\d+){3}|::1?|0\.0\.0\.0|unknown|[-?]", re.IGNORECASE
)


class Terms(NamedTuple):
    """By what a situation lives, as policy said when it began (seconds); it keeps them when policy changes."""

    title: str
    window_s: float
    min_events: int
    hold_s: float
    max_age_s: float


class Situation(NamedTuple):
    """An incident type with its terms, what anomalies of one situation share, and what else makes two one.

    severity stands in for the anomalies' own where a rule says so.
    """

    incident_type: str
    terms: Terms
    corr_keys: dict[str, str]
    links: tuple[str, ...] = ()
    severity: Severity | None = None

    @property
    def key(self) -> str:
        """The correlation key as one text."""
        return "|".join([self.incident_type, *(f"{name}={value}" for name, value in sorted(self.corr_keys.items()))])


def classify(anomaly: AnomalyDetected, policy: Policy, device_type: str | None = None) -> Situation:
    """The situation that policy's first matching rule says, else the default.

    An anomaly that has an incident type of its own keeps it, unless a rule names its threshold or pattern,
    or the device's type. device_type is the inventory's, where the device is in it. A key that the anomaly
    lacks equals nothing: its series stands in, so it joins no other series, and it links to nothing. A
    redacted value, or the address that each device has for itself, names nobody and is as good as missing.
    """
    types = policy.correlate.incident_types
    own = anomaly.incident_type if anomaly.incident_type in types else None
    matching = (each for each in policy.correlate.rules if _matches(anomaly, each, device_type))
    rule = next((each for each in matching if own is None or _is_particular(each)), None)
    named = rule.incident_type if rule is not None else own or policy.correlate.default_incident_type
    names = rule.keys if rule is not None and rule.keys is not None else types[named].keys
    keys = {name: identity(_value(anomaly, name) or f"?{anomaly.series}", KEY_BYTES) for name in names}
    bridge = {name: _value(anomaly, name) for name in types[named].bridge}
    links = tuple(f"{named}|{name}={identity(value, KEY_BYTES)}" for name, value in sorted(bridge.items()) if value)
    return Situation(named, terms_of(types[named], rule), keys, links, rule.severity if rule is not None else None)


def shared_by(situation: Situation) -> str:
    """What makes several incidents this one situation, in words.

    >>> terms = Terms("Attack", 600, 3, 60, 3600)
    >>> shared_by(Situation("auth_attack", terms, {}, ("auth_attack|fields.rhost=203.0.113.7",)))
    'rhost=203.0.113.7'
    """
    return ", ".join(link.partition("|")[2].removeprefix("fields.") for link in situation.links)


def terms_of(kind: IncidentTypePolicy, rule: CorrelateRule | None = None) -> Terms:
    """The terms of an incident type, with what a rule puts in their place."""

    def chosen(name: str) -> float:
        own = getattr(rule, name) if rule is not None else None
        value: float = own if own is not None else getattr(kind, name)
        return value

    return Terms(kind.title, chosen("window_s"), int(chosen("min_events")), chosen("hold_s"), kind.max_age_s)


def _is_particular(rule: CorrelateRule) -> bool:
    """Whether a rule speaks of some threshold, pattern or device type: then it goes before what the finding says."""
    return rule.match.rule is not None or rule.match.device_type is not None


def _matches(anomaly: AnomalyDetected, rule: CorrelateRule, device_type: str | None) -> bool:
    match = rule.match
    return (
        match.domain in (None, anomaly.domain)
        and match.anomaly_type in (None, anomaly.anomaly_type)
        and _like(anomaly.rule, match.rule)
        and _like(anomaly.metric_name, match.metric)
        and _like(anomaly.service, match.service)
        and _like(device_type, match.device_type)
    )


def _like(value: str | None, glob: str | None) -> bool:
    return glob is None or glob == "*" or (value is not None and fnmatchcase(value, glob))


def _value(anomaly: AnomalyDetected, name: str) -> str | None:
    if name.startswith("fields."):
        field = anomaly.fields.get(name.removeprefix("fields."), "")
        return None if _NOBODY.fullmatch(field) else field
    value: str | None = getattr(anomaly, name)
    return value or None
