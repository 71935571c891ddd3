"""Which of many matchers may hold for a subject, without trying them all."""

from collections.abc import Iterable, Iterator
from typing import Final

from operators.correlate.matchers import Matchers, Scope, Subject, inner_part, literal_part

Signature = tuple[tuple[str, int], ...]
"""By which parts of which fields matchers are filed: 0 all, n the first, -n the last, INSIDE + n any n characters."""

INSIDE: Final = 1_000_000
MAX_INNER: Final = 8

_Place = tuple[Signature, tuple[str, ...]]


class MatcherIndex:
    """Keys filed under the exact values of their matchers, and the fixed beginning or end of a glob.

    A look-up costs one step per signature in use (kinds of matchers and lengths of globs, a
    handful), whatever the number of keys. Where all are globs with neither beginning nor end ("*x*"), the key
    is filed under a part of one; these cost one step for each place in the subject's text. Only what has
    no fixed part at all ("?", "[ab]*") is a candidate each time. State: the keys, until they are removed.
    """

    def __init__(self) -> None:
        self._filed: dict[Signature, dict[tuple[str, ...], dict[str, None]]] = {}

    @property
    def steps(self) -> int:
        """What a look-up costs: the signatures in use."""
        return len(self._filed)

    def add(self, key: str, matchers: Matchers) -> None:
        """File a key under its matchers."""
        signature, values = _place(matchers)
        self._filed.setdefault(signature, {}).setdefault(values, {})[key] = None

    def remove(self, key: str, matchers: Matchers) -> None:
        """Take out a key that was filed under these matchers; raises KeyError when it was not."""
        signature, values = _place(matchers)
        keys = self._filed[signature][values]
        del keys[key]
        if not keys:
            del self._filed[signature][values]
        if not self._filed[signature]:
            del self._filed[signature]

    def candidates(self, subject: Subject) -> Iterator[str]:
        """The keys whose matchers may hold; that they do must still be asked."""
        for signature, by_values in self._filed.items():
            for values in _values(signature, subject):
                yield from by_values.get(values, ())


def _place(matchers: Matchers) -> _Place:
    """All exact values, and the longest fixed part of one glob: more would only multiply the signatures."""
    parts = [(field, part) for field, value in matchers.given.items() if (part := literal_part(value)) is not None]
    exact = [(field, part) for field, part in parts if part[0] == 0]
    globs = sorted((-abs(part[0]), field, part) for field, part in parts if part[0])
    chosen = [*exact, *((field, part) for _, field, part in globs[:1])]
    if not chosen:
        return _place_inside(matchers)
    return tuple((field, part[0]) for field, part in chosen), tuple(part[1] for _, part in chosen)


def _place_inside(matchers: Matchers) -> _Place:
    inside = [(part, field) for field, value in matchers.given.items() if (part := inner_part(value, MAX_INNER))]
    if not inside:
        return (), ()
    part, field = max(inside, key=lambda each: (len(each[0]), each))
    return ((field, INSIDE + len(part)),), (part,)


def _values(signature: Signature, subject: Subject) -> Iterable[tuple[str, ...]]:
    """The subject's parts of these fields, of its first scope (all scopes must match); none where it has none."""
    scope = subject.scopes[0] if subject.scopes else None
    out = []
    for field, size in signature:
        value: str | None = getattr(scope if field in Scope._fields else subject, field, None)
        if value is None:
            return ()
        if size > INSIDE:
            length = size - INSIDE
            return {(value[place : place + length],) for place in range(len(value) - length + 1)}
        out.append(value if size == 0 else value[:size] if size > 0 else value[size:])
    return (tuple(out),)
