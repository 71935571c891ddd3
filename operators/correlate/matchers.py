"""What a silence or maintenance window speaks of: matchers over what an anomaly or incident is about."""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase, translate
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from policy.maintenance import SubjectMatch, names_something
from schemas.anomaly import AnomalyEnriched
from schemas.base import DOMAINS, Severity
from schemas.incident import Incident

Test = Callable[[str], object]

FIELDS: Final = tuple(SubjectMatch.model_fields)
"""What can be matched."""

_WILD = re.compile(r"[*?\[]")
_TITLES: Final = ("Link down on gw-1", "z on é and 2 more devices")
_KNOWN: Final[dict[str, tuple[str, ...]]] = {"severity": tuple(Severity), "domain": DOMAINS, "title": _TITLES}
_WORDS: Final = ("a", "z", "m_0")
_SAMPLES: Final = (*_WORDS, "A", "Z9", "~", "é", "gw-1", "eth0/1.2", "7", "Link down")


class Scope(NamedTuple):
    """One thing that a subject touches; None where it has no such thing or nobody knows."""

    device_id: str
    service: str
    metric_name: str | None = None
    rule: str | None = None


class Subject(NamedTuple):
    """What an anomaly or incident is about.

    scopes: everything it touches. complete: False where it touches more than the scopes say; then
    no matcher of device, service, metric or rule holds.
    """

    ship_id: str
    incident_type: str
    severity: str
    domain: str
    title: str
    scopes: tuple[Scope, ...]
    complete: bool = True


def of_anomaly(anomaly: AnomalyEnriched, incident_type: str, title: str) -> Subject:
    """What an anomaly is about, with the type and title of the incident it speaks of."""
    scope = Scope(anomaly.device_id, anomaly.service, anomaly.metric_name, anomaly.rule)
    return Subject(anomaly.ship_id, incident_type, anomaly.severity, anomaly.domain, title, (scope,))


def of_incident(incident: Incident, scopes: Iterable[Scope] = (), *, complete: bool = True) -> Subject:
    """What an incident is about.

    scopes: what it touches with metric and rule, where the caller keeps that; else its own scope,
    which knows neither, so that a matcher of metric or rule does not hold. complete: False when its
    scope was cut short.
    """
    kept = tuple(scopes) or tuple(Scope(each.device_id, each.service) for each in incident.scope)
    return Subject(
        incident.ship_id, incident.incident_type, incident.severity, incident.domain, incident.title, kept, complete
    )


class Matchers:
    """Field → exact value or glob (case-sensitive shell pattern); all must hold, for every scope.

    Nothing unmentioned is matched: a matcher of device gw-1 does not hold for an incident that
    touches gw-2 as well. A field that a subject lacks is matched by "*" only. A value with *, ? or [
    is a glob, and also matches the very same text.
    """

    __slots__ = ("_tests", "given")

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = {field: given[field] for field in FIELDS if field in given}
        self._tests = tuple((field, field in Scope._fields, _test(value)) for field, value in self.given.items())

    def hold(self, subject: Subject) -> bool:
        """Whether all matchers hold for the subject."""
        for field, is_of_scope, test in self._tests:
            if is_of_scope and not (subject.complete and subject.scopes):
                return False
            for holder in subject.scopes if is_of_scope else (subject,):
                value = getattr(holder, field)
                if test is not _anything and (value is None or not test(value)):
                    return False
        return True

    @property
    def is_everything(self) -> bool:
        """Whether nothing may be left out: all matchers but the ship's match whatever comes, or name nothing.

        What names something is said at names_something: "*-*" may be in the name of every device. Of severity
        and domain all values are known: any glob that leaves one out is good.
        """
        own = {field: value for field, value in self.given.items() if field != "ship_id"}
        if any(field in ("severity", "domain") and not _is_any(field, value) for field, value in own.items()):
            return False
        return not names_something(own) or all(_is_any(field, value) for field, value in own.items())

    def __str__(self) -> str:
        return ", ".join(f"{field}={value}" for field, value in self.given.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matchers) and self.given == other.given

    def __hash__(self) -> int:
        return hash(tuple(self.given.items()))


def parse_matchers(given: Any) -> Matchers:
    """Matchers as a person sent them.

    Raises:
        ValueError: for what is no mapping of known fields to text, is empty, or matches everything.
    """
    if not isinstance(given, dict):
        raise ValueError(f'expected a mapping such as {{"device_id": "gw-1"}}, got {type(given).__name__}')
    try:
        matchers = Matchers(SubjectMatch.model_validate(given).given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ValueError(f"{field[:40]} is not known; there are {', '.join(FIELDS)}") from error
        raise ValueError(f"{field}: {first['msg'].replace('Input should be', 'expected')}") from error
    if not matchers.given:
        raise ValueError(f"empty; name at least one of {', '.join(FIELDS)}")
    if matchers.is_everything:
        raise ValueError(
            f"{matchers} would silence the whole ship; name a device, service or type, exactly or by a glob with two "
            "letters or digits in a row"
        )
    return matchers


def literal_part(value: str) -> tuple[int, str] | None:
    """What a matching text surely begins or ends with, as a number of characters and the text itself.

    0 stands for the whole text (an exact value), n for the first n characters, -n for the last n;
    None when a glob says nothing of the kind.

    >>> literal_part("gw-1"), literal_part("gw-*"), literal_part("*-gw"), literal_part("*gw*")
    ((0, 'gw-1'), (3, 'gw-'), (-3, '-gw'), None)
    """
    first = _WILD.search(value)
    if first is None:
        return 0, value
    head, tail = value[: first.start()], re.split(r"[*?\]]", value)[-1]
    if "[" in value:
        tail = ""
    if len(head) >= len(tail):
        return (len(head), head) if head else None
    return -len(tail), tail


def inner_part(value: str, most: int) -> str | None:
    """A text of at most so many characters that whatever the glob matches contains; None when it says nothing of it.

    >>> inner_part("*gw-0815*", 5), inner_part("??a*bcd?", 5), inner_part("[ab]*x", 5), inner_part("*", 5)
    ('-0815', 'bcd', None, None)
    """
    literal = max(re.split(r"[*?]", value.partition("[")[0]), key=len)
    return literal[-most:] or None


def _anything(_: str) -> bool:
    return True


def _test(value: str) -> Test:
    if _WILD.search(value) is None:
        return value.__eq__
    if set(value) == {"*"}:
        return _anything
    pattern = re.compile(translate(value)).match
    return lambda text: text == value or pattern(text) is not None


def _is_any(field: str, value: str) -> bool:
    samples = _KNOWN.get(field) or (_WORDS if field == "incident_type" else _SAMPLES)
    return all(fnmatchcase(sample, value) for sample in samples)
