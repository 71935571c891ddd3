"""Input that could not be read, kept whole with the reason."""

import json
from base64 import b64decode, b64encode
from typing import Literal, Self

from schemas.base import Message, Pos, UtcDatetime

MAX_PAYLOAD_BYTES = 640 * 1024
"""More than this is cut: base64 of it, with the rest of the letter, fits NATS's default 1 MiB."""


class DeadLetter(Message):
    """One input that could not be read.

    payload holds it as text where it is UTF-8, else as base64 (encoding says which). size is its
    size in bytes; when payload is shorter, truncated is true and the whole is still in the stream
    under sequence.
    """

    dead_letter_id: str
    ship_id: str
    stream: str
    sequence: int
    index: int
    subject: str
    observed_at: UtcDatetime
    reason: str
    size: int
    truncated: bool
    encoding: Literal["utf-8", "base64"]
    payload: str

    @classmethod
    def of(
        cls,
        data: bytes,
        *,
        size: int | None = None,
        dead_letter_id: str,
        ship_id: str,
        stream: str,
        pos: Pos,
        subject: str,
        observed_at: UtcDatetime,
        reason: str,
    ) -> Self:
        """Wrap what could not be read; size is that of the original where data is only a part of it."""
        encoding, payload = _encode(_cut(data))
        return cls(
            dead_letter_id=dead_letter_id,
            ship_id=ship_id,
            stream=stream,
            sequence=pos[0],
            index=pos[1],
            subject=subject,
            observed_at=observed_at,
            reason=reason,
            size=size or len(data),
            truncated=max(size or 0, len(data)) > MAX_PAYLOAD_BYTES,
            encoding=encoding,
            payload=payload,
        )

    def data(self) -> bytes:
        """The payload's bytes."""
        return b64decode(self.payload) if self.encoding == "base64" else self.payload.encode()


def _cut(data: bytes) -> bytes:
    """At most MAX_PAYLOAD_BYTES, not in the midst of a character."""
    if len(data) <= MAX_PAYLOAD_BYTES:
        return data
    end = MAX_PAYLOAD_BYTES
    while end > MAX_PAYLOAD_BYTES - 4 and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end]


def _encode(data: bytes) -> tuple[Literal["utf-8", "base64"], str]:
    """Text if that is UTF-8 and not longer in JSON than base64 would be."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "base64", b64encode(data).decode()
    if len(json.dumps(text, ensure_ascii=False).encode()) > len(data) * 4 / 3 + 64:
        return "base64", b64encode(data).decode()
    return "utf-8", text
