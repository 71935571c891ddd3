import json
from pathlib import Path

import pytest
from bytewax.testing import TestingSource

from operators.capture import CaptureSource
from policy import PolicyError, load_policy
from tests.bench.flow_run import firings, profile_policy, run_flow
from tests.support.make import anomaly, at, raw

HOT = {"service": "node", "device_id": "srv-1", "metric_name": "cpu_pct", "unit": "%"}


def test_what_clears_a_source_ends_all_that_it_said_and_nothing_else() -> None:
    other = {"device_id": "srv-2"}
    said = [anomaly(1), anomaly(2, **other), anomaly(3), anomaly(4, state="cleared"), anomaly(5)]
    assert [(found.begin, found.end) for found in firings(said)] == [
        (at(1).timestamp(), at(4).timestamp()),
        (at(2).timestamp(), None),
        (at(3).timestamp(), at(4).timestamp()),
        (at(5).timestamp(), None),
    ]


def test_a_profile_is_the_shipped_policy_with_only_that_changed() -> None:
    assert profile_policy("poc").hash == load_policy(None).hash
    assert profile_policy("full").default.profile == "full"
    assert profile_policy("full").default.detect.outliers != profile_policy("core-fast").default.detect.outliers
    with pytest.raises(PolicyError, match="profile"):
        profile_policy("fastest")


def test_it_finds_what_the_flow_publishes() -> None:
    values = [20.0] * 10 + [99.0] * 30 + [20.0] * 60
    source = [
        raw(n, "metrics.ingested.system.srv-1", {**HOT, "metric_value": value}, seconds=5 * n)
        for n, value in enumerate(values, 1)
    ]
    source.insert(50, raw(0, "metrics.ingested.system.srv-1", b"not JSON", seconds=255))
    ticked = []
    for n, message in enumerate(source, 1):
        ticked += [message._replace(sequence=n, data=b"", tick=True), message._replace(sequence=n)]
    found = run_flow(TestingSource(ticked), profile_policy("poc"))
    assert found.dead_letters == 1
    assert [incident.incident_type for incident in found.openings] == ["resource_pressure"]
    assert found.revisions[0].event == "created"
    assert found.revisions[-1].event == "resolved"
    threshold = [firing for firing in found.firings if firing.anomaly.rule == "cpu_high"]
    assert [(firing.begin, firing.end) for firing in threshold] == [
        (at(5 * (11 + 24)).timestamp(), at(5 * 41).timestamp())  # 120 s too high, until it is not
    ]


def test_a_capture_is_a_source_too(tmp_path: Path) -> None:
    line = {"seq": 1, "subject": "logs.ingested.net.rtr", "ts": "2026-03-01T00:00:00Z", "headers": {}}
    message = {"device_id": "rtr-1", "level": "error", "msg": "Interface Gi0/1, changed state to down"}
    path = tmp_path / "one.ndjson"
    path.write_text(json.dumps({**line, "data": json.dumps(message)}) + "\n")
    found = run_flow(CaptureSource([path]), profile_policy("poc"))
    assert [each.anomaly.rule for each in found.firings] == ["link_down"]
    assert [incident.incident_type for incident in found.openings] == ["network_issue"]
