"""prefilter: most lines hold none of the words that policy's patterns need, and a look for those is cheap."""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from operators.detect.pattern import Match, PatternMatcher, PatternRule
from schemas.base import Domain, Level
from schemas.telemetry import LogMessage

MIN_CHARS = 3
"""A shorter word is in most lines anyway."""

_parser: Any = import_module("re._parser")
_ops: Any = import_module("re._constants")


Clause = frozenset[str]
"""Words of which a line must hold one."""


class PrefilteredMatcher:
    r"""A PatternMatcher over those patterns only whose words the line holds.

    Each expression gives words without which it cannot match; looking for one takes about 50 ns.
    A line that holds none is done, else the alternation of the candidates alone decides (compiled
    once for each combination, 256 of them kept). So it gives exactly what PatternMatcher gives.
    Patterns without such words are always candidates, and on a line that is not ASCII all are, since
    letters of other alphabets can equal ASCII ones when case is ignored.

    >>> from schemas.base import Severity
    >>> rule = PatternRule("link_down", (r"link (?P<port>\S+) down",), None, Severity.HIGH)
    >>> PrefilteredMatcher([rule]).search("Link ge-0/0/1 down", "net", "switch", Level.WARN).fields
    {'port': 'ge-0/0/1'}
    """

    def __init__(self, rules: Sequence[PatternRule]) -> None:
        self._rules = tuple(rules)
        self._full = PatternMatcher(rules)
        self._matcher = lru_cache(maxsize=256)(self._matcher_of)
        self._triggers, self._always = _triggers([[needs(regex) for regex in rule.regex] for rule in rules])

    def match(self, line: LogMessage) -> Match | None:
        """The pattern that this line matches, or None."""
        return self.search(line.msg, line.domain, line.service, line.level)

    def search(self, text: str, domain: Domain, service: str, level: Level) -> Match | None:
        """The same for the parts of a line."""
        if not text.isascii():
            return self._full.search(text, domain, service, level)
        lower = text.lower()
        candidates = self._always
        for word, rules in self._triggers:
            if word in lower:
                for rule, rest in rules:
                    if not candidates >> rule & 1 and all(any(other in lower for other in clause) for clause in rest):
                        candidates |= 1 << rule
        return self._matcher(candidates).search(text, domain, service, level) if candidates else None

    def _matcher_of(self, candidates: int) -> PatternMatcher:
        return PatternMatcher([rule for i, rule in enumerate(self._rules) if candidates >> i & 1])


Trigger = tuple[str, tuple[tuple[int, tuple[Clause, ...]], ...]]


def _triggers(rules: list[list[list[Clause]]]) -> tuple[tuple[Trigger, ...], int]:
    """Each word to look for with the rules it speaks for and their other clauses; and the rules without (bits)."""
    found: dict[str, list[tuple[int, tuple[Clause, ...]]]] = {}
    always = 0
    for i, regexes in enumerate(rules):
        for clauses in regexes:
            if not clauses:
                always |= 1 << i
                continue
            first, *rest = sorted(clauses, key=_worth, reverse=True)
            for word in sorted(first):
                found.setdefault(word, []).append((i, tuple(rest)))
    return tuple((word, tuple(rules)) for word, rules in found.items()), always


def needs(regex: str) -> list[Clause]:
    r"""What every ASCII line that matches must hold, in lower case: one word of each clause.

    >>> [sorted(clause) for clause in needs(r"(?:invalid|illegal) user \S+")]
    [['llegal', 'nvalid'], [' user ']]
    """
    return _needs(_parser.parse(regex))


def _needs(items: Any) -> list[Clause]:
    clauses: list[Clause] = []
    run = ""
    for op, value in [*items, (None, None)]:
        if op is _ops.LITERAL and value < 128:
            run += chr(value).lower()
            continue
        if len(run) >= MIN_CHARS:
            clauses.append(frozenset({run}))
        run = ""
        clauses += _inside(op, value)
    return clauses


def _inside(op: Any, value: Any) -> list[Clause]:
    """The clauses of one item of a parse tree; none where it holds no word for certain."""
    if op is _ops.SUBPATTERN:
        return _needs(value[-1])
    if op is _ops.ATOMIC_GROUP:
        return _needs(value)
    if op in (_ops.MAX_REPEAT, _ops.MIN_REPEAT, _ops.POSSESSIVE_REPEAT) and value[0] > 0:
        return _needs(value[2])
    if op is _ops.BRANCH:
        parts = [_needs(part) for part in value[1]]
        return [frozenset().union(*(max(part, key=_worth) for part in parts))] if all(parts) else []
    return []


def _worth(words: Clause) -> tuple[int, int]:
    """A clause is worth more the longer its shortest word, then the fewer its words."""
    return min(map(len, words)), -len(words)
