"""Which of many matchers may hold for a subject, without trying them all."""

from collections.abc import Iterator

from operators.correlate.matchers import Matchers, Scope, Subject, literal_part

Signature = tuple[tuple[str, int], ...]
"""By which part of which fields matchers are filed: 0 all of it, n the first, -n the last n characters."""

_Place = tuple[Signature, tuple[str, ...]]


class MatcherIndex:
    """Keys filed under the exact values of their matchers, and the fixed beginning or end of a glob.

    A look-up costs one step per signature in use (kinds of matchers and lengths of globs, a
    handful), whatever the number of keys; only globs with neither beginning nor end ("*x*") and no
    exact value beside them are candidates each time. State: the keys, until they are removed.
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
            values = _values(signature, subject)
            if values is not None:
                yield from by_values.get(values, ())


def _place(matchers: Matchers) -> _Place:
    """All exact values, and the longest fixed part of one glob: more would only multiply the signatures."""
    parts = [(field, part) for field, value in matchers.given.items() if (part := literal_part(value)) is not None]
    exact = [(field, part) for field, part in parts if part[0] == 0]
    globs = sorted((-abs(part[0]), field, part) for field, part in parts if part[0])
    chosen = [*exact, *((field, part) for _, field, part in globs[:1])]
    return tuple((field, part[0]) for field, part in chosen), tuple(part[1] for _, part in chosen)


def _values(signature: Signature, subject: Subject) -> tuple[str, ...] | None:
    """The subject's parts of these fields, of its first scope (all scopes must match); None where it has none."""
    scope = subject.scopes[0] if subject.scopes else None
    out = []
    for field, size in signature:
        value: str | None = getattr(scope if field in Scope._fields else subject, field, None)
        if value is None:
            return None
        out.append(value if size == 0 else value[:size] if size > 0 else value[size:])
    return tuple(out)
