"""Text from outside, safe to print: what would steer a terminal is shown instead."""

import json
from typing import Any, Final
from unicodedata import category

STEERING: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Controls (C0, DEL, C1), formats (bidi overrides, zero width, tags), lone surrogates, separators of lines."""


def visible(text: str, keep: str = "\n\t") -> str:
    r"""The text with every character that steers a terminal or hides shown as its escape, those in keep aside.

    >>> print(visible("\x1b]0;owned\x07 gw\u202e-1"))
    \x1b]0;owned\x07 gw\u202e-1
    """
    if text.isprintable():
        return text
    return "".join(_shown(char) if category(char) in STEERING and char not in keep else char for char in text)


def visible_json(value: Any, indent: int | None = 2) -> str:
    r"""JSON for a terminal or a program: the same characters as JSON's own escapes, so it reads back alike.

    >>> visible_json("\x9b2J")
    '"\\u009b2J"'
    """
    return escape_json(json.dumps(value, indent=indent, ensure_ascii=False))


def escape_json(text: str) -> str:
    """JSON text with those characters as escapes; they can stand in its strings only."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if category(c) in STEERING and c != "\n" else c for c in text)


def _shown(char: str) -> str:
    r"""As Python writes it; also what Python would print as it is.

    >>> _shown("\u200d"), _shown("\x07")
    ('\\u200d', '\\x07')
    """
    return char.encode("unicode_escape").decode()
