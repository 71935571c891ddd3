"""Deterministic identifiers: the same input always gives the same id, so a replay repeats nothing."""

from hashlib import blake2b
from uuid import UUID

_MASK_48 = (1 << 48) - 1


def stream_identity(name: str, created: str) -> int:
    """48 bits that tell one stream from another of the same name (it was created at another time).

    >>> stream_identity("TELEMETRY", "2026-01-01T00:00:00Z") == stream_identity("TELEMETRY", "2026-01-02T00:00:00Z")
    False
    """
    digest = blake2b(f"{name}@{created}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def event_uuid(stream: int, sequence: int, index: int) -> str:
    """The UUIDv8 of one event: stream identity (48 bits), index (26 bits), sequence (48 bits).

    >>> event_uuid(0xABCDEF012345, 7, 0)
    'abcdef01-2345-8000-8000-000000000007'

    Source: RFC 9562 section 5.8 (custom_a 48 bits, custom_b 12 bits, custom_c 62 bits).
    """
    custom_b = (index >> 14) & 0xFFF
    custom_c = ((index & 0x3FFF) << 48) | (sequence & _MASK_48)
    bits = (stream & _MASK_48) << 80 | 0x8 << 76 | custom_b << 64 | 0b10 << 62 | custom_c
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def content_uuid(*parts: str) -> str:
    """The UUIDv8 of what the parts say, in this order.

    >>> content_uuid("a", "b") == content_uuid("a", "b"), content_uuid("a", "b") == content_uuid("ab", "")
    (True, False)
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = bytearray(blake2b(text.encode(), digest_size=16).digest())
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(digest)))
