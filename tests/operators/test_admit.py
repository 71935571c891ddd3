"""admit and the dead letters of decode: levels, size, and no personal data beyond them."""

from typing import Any

import pytest
from bytewax.testing import TestingSource

from operators.admit import Admitter, Rules
from operators.redact import Redactor
from schemas.base import Level
from schemas.dead_letter import DeadLetter
from tests.support.flow import run_vessel
from tests.support.make import line, raw

REDACTOR = Redactor(email=True, card=True, phone=True, guest_networks=["10.50.0.0/16"])


def admitter(min_level: Level = Level.INFO, line_bytes: int = 1000) -> Admitter:
    return Admitter(Rules(min_level, line_bytes, REDACTOR))


def test_lines_below_the_minimum_level_are_dropped() -> None:
    assert admitter(Level.WARN).admit(line(0, "x", level="info"))[0] is None
    assert admitter(Level.WARN).admit(line(0, "x", level="warn"))[0] is not None


def test_an_ordinary_line_passes_untouched() -> None:
    given = line(0, "all is well", meta={"pid": "7", "nested": {"a": [1, "b"]}})
    assert admitter().admit(given) == (given, {})
    assert admitter().admit(given)[0] is given


def test_a_long_line_is_cut_between_characters_and_says_how_long_it_was() -> None:
    admitted, _ = admitter(line_bytes=301).admit(line(0, "æ" * 400))
    assert admitted is not None
    assert admitted.msg == "æ" * 150
    assert admitted.meta["msg_bytes"] == 800


def test_text_and_meta_are_redacted_before_the_cut() -> None:
    text = "x" * 990 + " bob@example.org"
    admitted, found = admitter().admit(line(0, text, meta={"from": {"mail": "eva@example.org"}, "ip": "10.50.0.9"}))
    assert admitted is not None
    assert "bob" not in admitted.msg
    assert admitted.meta["from"] == {"mail": "[email]"}
    assert admitted.meta["ip"] == "[guest_ip]"
    assert found == {"email": 2, "guest_ip": 1}


def published(body: Any, subject: str = "logs.ingested.security.sshd") -> str:
    messages = run_vessel(TestingSource([raw(1, subject, body)]))
    return " ".join(message.data.decode() for message in messages)


def test_nothing_that_is_published_holds_personal_data() -> None:
    msg = "Failed password for eva@example.org from 203.0.113.1"
    found = published({"device_id": "gw", "level": "error", "msg": msg})
    assert "log_pattern" in found
    assert "eva@" not in found


@pytest.mark.parametrize(
    "body",
    [
        '{"msg": "mail from eva@example.org',
        {"msg": {"mail": "eva@example.org"}},
        {"device_id": "gw", "msg": ["eva@example.org 4111 1111 1111 1111 " * 20]},
        {"device_id": "gw", "ts": "eva@example.org", "msg": "x"},
        b'{"msg": "\xff eva@example.org"}',
        ("Письмо от eva@example.org " * 40),
        '{"msg": "' + '\\"' * 500 + " eva@example.org",
    ],
)
def test_a_dead_letter_holds_no_personal_data_however_it_is_kept(body: Any) -> None:
    (message,) = run_vessel(TestingSource([raw(1, "logs.ingested.security.sshd", body)]))
    letter = DeadLetter.model_validate_json(message.data)
    assert b"[email]" in letter.data()
    assert b"eva@" not in letter.data()
    assert "eva@" not in letter.reason
    assert "4111" not in letter.reason


def test_labels_are_redacted_before_they_name_a_series() -> None:
    sample = {"service": "s", "metric_name": "cpu_pct", "metric_value": 99, "labels": {"user": "eva@example.org"}}
    ages = [raw(n, "metrics.ingested.system.srv", sample, 100.0 * n) for n in range(1, 5)]
    messages = run_vessel(TestingSource(ages))
    assert messages
    assert all(b"eva@" not in message.data for message in messages)
