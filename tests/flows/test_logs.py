"""Structured logs: one JSON object a line, and a record about an event carries its tracking id."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from bytewax.testing import TestingSource

from operators.observability import configure_logging
from tests.support.flow import run_vessel
from tests.support.story import story, with_ticks

ABOUT_EVENTS = ("dead letter", "anomaly", "incident")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    out = io.StringIO()
    configure_logging("debug", "json", out)
    yield out
    structlog.reset_defaults()


def test_every_record_about_an_event_carries_its_tracking_id_and_ship(logged: io.StringIO) -> None:
    run_vessel(TestingSource(with_ticks(story()), 50))
    records = [json.loads(line) for line in logged.getvalue().splitlines()]
    about = [record for record in records if record["event"].startswith(ABOUT_EVENTS)]
    assert {record["event"] for record in about} >= {
        "dead letter",
        "anomaly firing",
        "anomaly cleared",
        "incident created",
        "incident resolved",
    }
    for record in about:
        assert len(record["tracking_id"]) == 36, record
        assert record["ship_id"] == "aurora", record
        assert record["level"], record
        assert record["timestamp"].endswith("Z"), record


def test_a_failure_is_logged_without_the_values_of_its_variables(logged: io.StringIO) -> None:
    password = "correct horse"
    try:
        raise ValueError(f"length {len(password)}")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    assert "length 13" in logged.getvalue()
    assert password not in logged.getvalue()
