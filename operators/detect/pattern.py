"""log patterns: policy's regular expressions, all in one pass over a line."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from schemas.base import Domain, Level, Severity
from schemas.telemetry import LogMessage

MAX_FIELD = 256
MAX_SCANNED = 4096
"""Characters of a line that are looked at; what matters comes early, and a scan takes time."""
_GROUP = re.compile(r"\(\?P(<|=)(\w+)([>)])")


class PatternRule(NamedTuple):
    """One pattern of policy.detect.patterns; named groups become fields of the anomaly."""

    name: str
    regex: tuple[str, ...]
    incident_type: str | None
    severity: Severity
    domain: Domain | None = None
    service: str = "*"
    min_level: Level = Level.DEBUG


class Match(NamedTuple):
    """Which pattern a line matched, and what its named groups held."""

    rule: PatternRule
    fields: dict[str, str]


class PatternMatcher:
    r"""Finds the first pattern (in policy's order) that applies to a line and matches it.

    The applicable patterns are compiled into one alternation, kept for each combination of
    patterns; letters match in either case. Cost: one scan of the line.

    >>> rule = PatternRule("link_down", (r"link (?P<port>\S+) down",), "network_issue", Severity.HIGH)
    >>> matcher = PatternMatcher([rule])
    >>> matcher.search("Link ge-0/0/1 down", "net", "switch", Level.WARN).fields
    {'port': 'ge-0/0/1'}
    """

    def __init__(self, rules: Sequence[PatternRule]) -> None:
        self._rules = tuple(rules)
        self._applicable = lru_cache(maxsize=4096)(self._compile_for)

    def match(self, line: LogMessage) -> Match | None:
        """The pattern that this line matches, or None."""
        return self.search(line.msg, line.domain, line.service, line.level)

    def search(self, text: str, domain: Domain, service: str, level: Level) -> Match | None:
        """The same for the parts of a line."""
        compiled = self._applicable(domain, service, level)
        found = compiled.search(text, 0, MAX_SCANNED) if compiled is not None else None
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        rule = next(rule for i, rule in enumerate(self._rules) if f"p{i}" in groups)
        fields = {name.split("_", 2)[2]: value[:MAX_FIELD] for name, value in groups.items() if "_" in name}
        return Match(rule, fields)

    def _compile_for(self, domain: Domain, service: str, level: Level) -> re.Pattern[str] | None:
        parts = [
            f"(?P<p{i}>{_alternatives(rule, i)})"
            for i, rule in enumerate(self._rules)
            if rule.domain in (None, domain)
            and fnmatchcase(service, rule.service)
            and level.rank >= rule.min_level.rank
        ]
        return _compile("|".join(parts)) if parts else None


@lru_cache(maxsize=256)
def _compile(alternation: str) -> re.Pattern[str]:
    return re.compile(alternation, re.IGNORECASE)


def _alternatives(rule: PatternRule, index: int) -> str:
    """The rule's expressions as one, with their named groups made unique among all rules."""
    return "|".join(_renamed(regex, f"p{index}_{j}_") for j, regex in enumerate(rule.regex))


def _renamed(regex: str, prefix: str) -> str:
    return _GROUP.sub(lambda found: f"(?P{found[1]}{prefix}{found[2]}{found[3]}", regex)
