from datetime import UTC, datetime

import pytest

from operators.jetstream.ack import Delivery, arrival_time, parse_ack

NS = 1_767_225_600_123_456_789


def test_nine_tokens() -> None:
    assert parse_ack(f"$JS.ACK.TELEMETRY.c1.1.42.7.{NS}.3") == Delivery(42, 7, NS, 3)


@pytest.mark.parametrize("end", ["", ".tOkEn"])
def test_with_domain_and_account(end: str) -> None:
    reply = f"$JS.ACK.ship.ACCHASH.TELEMETRY.c1.1.42.7.{NS}.3{end}"
    assert parse_ack(reply) == Delivery(42, 7, NS, 3)


@pytest.mark.parametrize("reply", ["", "_INBOX.a.b", "$JS.ACK.TELEMETRY.c1.1.42.7.3", f"$JS.ACK.S.c.1.42.7.{NS}.3.x"])
def test_anything_else_is_refused(reply: str) -> None:
    with pytest.raises(ValueError, match="reply subject"):
        parse_ack(reply)


def test_arrival_is_cut_to_microseconds_and_utc() -> None:
    assert arrival_time(NS) == datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)
    assert arrival_time(999) == datetime(1970, 1, 1, tzinfo=UTC)
