"""What is lost, doubled or wrong: what was found against what must be there. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Audit:
    """Names of what is missing, there twice, or other than it must be."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    compared: int = 0

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or wrong, and something was compared."""
        return self.compared > 0 and not (self.lost or self.doubled or self.wrong)

    def __add__(self, other: "Audit") -> "Audit":
        return Audit(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.wrong + other.wrong,
            self.compared + other.compared,
        )

    def __str__(self) -> str:
        first = [f"{what} {names[:3]}" for what, names in vars(self).items() if what != "compared" and names]
        counts = f"lost {len(self.lost)}, doubled {len(self.doubled)}, wrong {len(self.wrong)} of {self.compared}"
        return "; ".join([counts, *first])


def audit_ids(what: str, expected: Iterable[str], found: Iterable[str]) -> Audit:
    """Each expected id must be there once; there may be others.

    >>> print(audit_ids("row", ["a", "b", "c"], ["a", "c", "c", "d"]))
    lost 1, doubled 1, wrong 0 of 3; lost ['row b']; doubled ['row c']
    """
    times = Counter(found)
    wanted = set(expected)
    lost = sorted(f"{what} {each}" for each in wanted if not times[each])
    doubled = sorted(f"{what} {each}" for each, count in times.items() if count > 1)
    return Audit(lost, doubled, [], len(wanted))


def audit_messages(expected: Mapping[str, bytes], found: Iterable[tuple[str, bytes]]) -> Audit:
    """Each expected message must be there once, the same bytes, and no other.

    >>> print(audit_messages({"i:1": b"x", "i:2": b"y"}, [("i:1", b"x"), ("i:2", b"z"), ("i:3", b"")]))
    lost 0, doubled 0, wrong 2 of 2; wrong ['i:2: other bytes', 'i:3: not expected']
    """
    there = list(found)
    ids = audit_ids("message", expected, (name for name, _ in there))
    wrong = [
        f"{name}: {'other bytes' if name in expected else 'not expected'}"
        for name, data in there
        if expected.get(name) != data
    ]
    return Audit(ids.lost, ids.doubled, wrong, len(expected))
