"""What JetStream says about a delivered message in its reply subject."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

PREFIX = "$JS.ACK."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Delivery(NamedTuple):
    """Where a message stands.

    sequence is its place in the stream, delivered its place in this consumer (1, 2, 3 …), arrived
    the time it was stored (nanoseconds since 1970), pending how many are left after it.
    """

    sequence: int
    delivered: int
    arrived: int
    pending: int


def parse_ack(reply: str) -> Delivery:
    """Read both forms of the reply subject.

    $JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivered>.<ns>.<pending>, and with
    <domain>.<account> before the stream and, in most versions, a last token to be ignored.

    >>> parse_ack("$JS.ACK.TELEMETRY.c1.1.42.7.1767225600000000000.3").sequence
    42

    Raises:
        ValueError: when it is neither.
    """
    tokens = reply.split(".")
    count = len(tokens)
    at = 5 if count == 9 else 7
    if not reply.startswith(PREFIX) or (count != 9 and count < 11):
        raise ValueError(f"reply subject {reply!r}, expected $JS.ACK.… with 9, or 11 and more, tokens")
    return Delivery(int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 2]), int(tokens[at + 3]))


def arrival_time(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as an aware UTC time, cut to microseconds.

    >>> arrival_time(1767225600123456999).isoformat()
    '2026-01-01T00:00:00.123456+00:00'
    """
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
