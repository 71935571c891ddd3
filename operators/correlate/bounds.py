"""bounds: how large what an incident says may become, whatever comes in."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, TypeVar

from schemas.base import Part

P = TypeVar("P", bound=Part)

SCOPE_BYTES: Final = 40 * 1024
EVIDENCE_BYTES: Final = 64 * 1024
TIMELINE_BYTES: Final = 64 * 1024
IMPACT_BYTES: Final = 48 * 1024
SUMMARY_BYTES: Final = 1024
REASON_BYTES: Final = 4 * 1024
COMMENT_BYTES: Final = 8 * 1024
KEY_BYTES: Final = 1024
"""One value of a correlation key."""
FINGERPRINT_BYTES: Final = 2 * 1024

SHOWN: Final = 64
"""Characters of a name in a sentence."""
_FRAME: Final = 160
"""The JSON of a part without its texts: names of fields, numbers, times."""
_DIGEST: Final = 16


def weight(text: str) -> int:
    """How many bytes of JSON a text may take, at most: cheap to find, and seldom more than twice too much.

    >>> weight("srv-1"), weight("brücke"), weight("a" + chr(0))
    (10, 24, 12)
    """
    if not text.isprintable() and not text.replace("\n", "").replace("\t", "").isprintable():
        return 6 * len(text)
    return 2 * len(text) if text.isascii() else 4 * len(text)


def cut(text: str, most: int) -> str:
    """The text, or its beginning and three dots; its weight is at most `most` (from 18).

    >>> cut("a long story", 100), cut("a long story", 18)
    ('a long story', 'a long...')
    """
    heavy = weight(text)
    if heavy <= most:
        return text
    return text[: most // (heavy // len(text)) - 3] + "..."


def identity(text: str, most: int) -> str:
    """The text, or its beginning and a digest of all of it, by which it can be told from others.

    Its weight is at most `most` (from 102).

    >>> identity("fw-1", 100)
    'fw-1'
    >>> len(identity("x" * 1000, 200)), identity("x" * 1000, 200) == identity("x" * 999, 200)
    (100, False)
    """
    heavy = weight(text)
    if heavy <= most:
        return text
    digest = blake2b(text.encode(), digest_size=_DIGEST // 2).hexdigest()
    return f"{text[: most // (heavy // len(text)) - _DIGEST - 1]}~{digest}"


def short(name: str) -> str:
    """A name as a sentence says it: at most 64 characters, of a longer one the beginning and the end.

    >>> short("fw-1"), short("n" * 100 + "-7")[-6:], len(short("n" * 102))
    ('fw-1', 'nnnn-7', 64)
    """
    return name if len(name) <= SHOWN else f"{name[: SHOWN - 24]}…{name[-23:]}"


def fit(parts: Iterable[P], limit: int, most: int) -> tuple[P, ...]:
    """The first of these that fit: at most `limit`, and together at most `most` bytes of JSON."""
    kept: list[P] = []
    for each in parts:
        most -= weight_of(each)
        if len(kept) >= limit or most < 0:
            break
        kept.append(each)
    return tuple(kept)


def weight_of(part: Part) -> int:
    """How many bytes of JSON a part may take, at most."""
    return _FRAME + sum(weight(value) for value in part.__dict__.values() if isinstance(value, str))
