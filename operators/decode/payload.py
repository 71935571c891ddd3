"""The payload of a message: one JSON object, a JSON array, or one JSON value a line."""

from typing import Any, NamedTuple

from pydantic_core import from_json, to_json


class Unreadable(ValueError):
    """An input that cannot be read: a bounded code for counting and the reason in words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class BadLine(NamedTuple):
    """A line that is no JSON, among others that are."""

    data: bytes
    reason: str


def read_items(data: bytes, max_bytes: int, max_items: int) -> list[Any]:
    r"""The items of a payload, BadLine for a line that cannot be read.

    >>> read_items(b'{"a": 1}\n{"a": 2}', 100, 10)
    [{'a': 1}, {'a': 2}]

    Raises:
        Unreadable: when nothing in it can be read, or it is too large.
    """
    if len(data) > max_bytes:
        raise Unreadable("too_large", f"message of {len(data)} bytes, at most {max_bytes} are read")
    try:
        value = from_json(data)
    except ValueError as error:
        if not data.strip():
            raise Unreadable("empty", "empty message, expected JSON") from None
        value = _lines(data, error)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Unreadable("empty", "empty array, expected at least one object")
    if len(items) > max_items:
        raise Unreadable("too_large", f"message of {len(items)} items, at most {max_items} are read")
    return items


def as_bytes(item: Any) -> bytes:
    """An item as it can be kept in a dead letter."""
    return item.data if isinstance(item, BadLine) else to_json(item)


def _lines(data: bytes, whole: ValueError) -> list[Any]:
    """Read one JSON value a line; a line that cannot be read does not spoil the others."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) < 2:
        raise Unreadable("not_json", f"not JSON: {whole}") from whole
    items: list[Any] = []
    good = 0
    for line in lines:
        try:
            items.append(from_json(line))
            good += 1
        except ValueError as error:
            items.append(BadLine(line, f"not JSON: {error}"))
    if not good:
        raise Unreadable("not_json", f"not JSON: {whole}") from whole
    return items
