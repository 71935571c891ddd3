"""Are regular expressions from policy fit to run on every log line?"""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

MAX_GROUPS = 8
MANY = 10
"""A repeat that may go round this often counts as unbounded."""

LINE = 4096
MAX_WORK = 200_000_000
"""Steps on the worst line of 4096 characters, where the pattern could begin at every place."""

_parser: Any = import_module("re._parser")
_ops: Any = import_module("re._constants")
_GROUP_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_CATEGORIES = {"DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W"}
_ALL = frozenset(range(128))


@lru_cache(maxsize=4096)
def check_regex(text: str) -> str:
    r"""Return the regular expression unchanged when it is safe to join with others and run on any line.

    >>> check_regex(r"Failed password for (?P<user>\S+)")
    'Failed password for (?P<user>\\S+)'

    Raises:
        ValueError: when it does not compile, could take exponential time, matches the empty line, or
            carries what does not survive being joined with others (global flags, back-references).
    """
    try:
        compiled = re.compile(text)
        tree = _parser.parse(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression: {error}") from error
    if compiled.flags & ~re.UNICODE:
        raise ValueError("expected flags around the part they are for, such as (?i:...)")
    _check_groups(compiled, text)
    if compiled.search("") is not None:
        raise ValueError("expected a regular expression that does not match every line")
    _check_shape(tree, text)
    return text


def _check_groups(compiled: re.Pattern[str], text: str) -> None:
    if len(compiled.groupindex) > MAX_GROUPS:
        raise ValueError(f"expected at most {MAX_GROUPS} named groups, got {len(compiled.groupindex)} in {text!r}")
    for name in compiled.groupindex:
        if not _GROUP_NAME.fullmatch(name):
            raise ValueError(
                f"expected group names of at most 32 lower-case letters, digits and _, got {name!r} in {text!r}"
            )


def _work(items: Any) -> int:
    """How many ways there are, at most, to divide a line among the repeats of a sequence."""
    ways = 1
    for op, value in items:
        if op in (_ops.MAX_REPEAT, _ops.MIN_REPEAT):
            ways *= max(1, min(int(value[1]), LINE)) if value[1] >= MANY else 1
        ways *= max((_work(inner) for inner in _inside((op, value))), default=1)
    return ways


def _check_shape(tree: Any, text: str) -> None:
    if len(tree) and _many(tree[0]) and tree[0][1][2][0][0] is _ops.ANY:
        raise ValueError("expected no .* or .+ at the start (lines are searched, so it only costs time)")
    for item in _walk(tree):
        if item[0] in (_ops.GROUPREF, _ops.GROUPREF_EXISTS):
            raise ValueError("expected no back-reference (patterns are joined into one)")
        if not _many(item):
            continue
        if any(_many(inner) for inner in _walk(item[1][2], into_atomic=False)):
            raise ValueError(
                "expected no repeat inside a repeat, which can take exponential time"
                f" (bound the inner one below {MANY}, or make it possessive: a++)"
            )
        if any(_ambiguous(inner) for inner in _walk(item[1][2], into_atomic=False)):
            raise ValueError(
                "expected alternatives that start differently inside a repeat, else it can take exponential time,"
                f" got {text!r}"
            )
    if _work(tree) * LINE // max(1, tree.getwidth()[0]) > MAX_WORK:
        raise ValueError(
            "expected fewer or narrower repeats one after the other, which can take very long;"
            f" bound them, such as .{{0,80}} in place of .*, got {text!r}"
        )


def _many(item: Any) -> bool:
    op, value = item
    return op in (_ops.MAX_REPEAT, _ops.MIN_REPEAT) and bool(value[1] >= MANY)


def _walk(items: Any, *, into_atomic: bool = True) -> Iterator[Any]:
    """Every item of the parse tree; what is atomic or possessive never backtracks and can be left out."""
    for item in items:
        yield item
        if not into_atomic and item[0] in (_ops.ATOMIC_GROUP, _ops.POSSESSIVE_REPEAT):
            continue
        for inner in _inside(item):
            yield from _walk(inner, into_atomic=into_atomic)


def _inside(item: Any) -> list[Any]:
    """The sequences within one item."""
    op, value = item
    if op in (_ops.MAX_REPEAT, _ops.MIN_REPEAT, _ops.POSSESSIVE_REPEAT):
        return [value[2]]
    if op is _ops.SUBPATTERN:
        return [value[-1]]
    if op is _ops.BRANCH:
        return list(value[1])
    if op in (_ops.ASSERT, _ops.ASSERT_NOT):
        return [value[1]]
    if op is _ops.ATOMIC_GROUP:
        return [value]
    if op is _ops.GROUPREF_EXISTS:
        return [part for part in value[1:] if part is not None]
    return []


def _ambiguous(item: Any) -> bool:
    """A choice of which two alternatives can begin with the same character, or one is empty."""
    if item[0] is not _ops.BRANCH:
        return False
    seen: set[int] = set()
    for alternative in item[1][1]:
        first = _first(alternative)
        if not len(alternative) or seen & first:
            return True
        seen |= first
    return False


def _first(items: Any) -> frozenset[int]:
    """The ASCII characters that a sequence can begin with; all of them where that is not simple to say."""
    if not len(items):
        return _ALL
    op, value = items[0]
    if op is _ops.LITERAL:
        return frozenset({value})
    if op is _ops.NOT_LITERAL:
        return _ALL - {value}
    if op is _ops.SUBPATTERN:
        return _first(value[-1])
    if op is _ops.IN:
        return _members(value)
    if op in (_ops.MAX_REPEAT, _ops.MIN_REPEAT) and value[0] > 0:
        return _first(value[2])
    return _ALL


def _members(parts: Any) -> frozenset[int]:
    """The ASCII characters of a set such as [a-f0-9] or [^x]."""
    found: set[int] = set()
    for op, value in parts:
        if op is _ops.LITERAL:
            found.add(value)
        elif op is _ops.RANGE:
            found.update(range(value[0], value[1] + 1))
        elif op is _ops.CATEGORY:
            kind = re.compile(_CATEGORIES[str(value).removeprefix("CATEGORY_")])
            found.update(code for code in _ALL if kind.match(chr(code)))
    negated = bool(parts) and parts[0][0] is _ops.NEGATE
    return _ALL - found if negated else frozenset(found) & _ALL
