"""Retention that passed the resume point of a stopped vessel: one incident with the exact range."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_fast_path import attack
from tests.e2e.test_outages import publish
from tests.e2e.test_recover import incidents, kill, start, stop, wait_for
from tests.support.nats import until
from tests.support.parts import Parts, parts_in

pytestmark = pytest.mark.e2e

HOLD_S = 3


@pytest.fixture
def vessel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "correlate.yaml").write_text(
        f'incident_types:\n  telemetry_gap: {{title: "Telemetry gap", hold_s: {HOLD_S}, keys: [device_id]}}\n'
    )
    monkeypatch.setenv("WATCHKEEPER_POLICY_DIR", str(policy))
    with parts_in(tmp_path) as found:
        yield found


def gaps(vessel: Parts) -> list[dict[str, Any]]:
    return [body for _, body in incidents(vessel) if body["incident_type"] == "telemetry_gap"]


def test_a_stream_purged_past_the_resume_point_is_an_incident_once(vessel: Parts) -> None:
    start(vessel)
    publish(vessel.nats, attack("gw-1", 3))
    wait_for(vessel, "gw-1")
    stop(vessel)
    known = vessel.nats.last_sequence("TELEMETRY")
    publish(vessel.nats, attack("gw-2", 30))
    vessel.nats.api("STREAM.PURGE.TELEMETRY", {"seq": known + 21})

    start(vessel)
    until(lambda: gaps(vessel), seconds=15, what="the incident")
    kill(vessel)
    start(vessel)
    until(lambda: len(gaps(vessel)) == 2, seconds=HOLD_S + 15, what="its end")
    stop(vessel)

    opened, resolved = gaps(vessel)
    said = f"messages {known + 1} to {known + 20} of stream TELEMETRY (20)"
    assert said in opened["evidence"][0]["summary"]
    assert said in opened["timeline"][0]["reason"]
    assert (opened["event"], resolved["event"]) == ("created", "resolved")
    assert opened["incident_id"] == resolved["incident_id"]
    assert set(Counter(msg_id for msg_id, _ in incidents(vessel)).values()) == {1}
    anomalies = [subject for _, subject, _, data in vessel.nats.read("ANOMALIES") if b'"telemetry_gap"' in data]
    assert Counter(anomalies) == {"anomaly.detected.system": 2, "anomaly.enriched.system": 2}
    assert f'"first": {known + 1}, "last": {known + 20}' in vessel.log("vessel")
    wait_for(vessel, "gw-2")  # the ten lines that were left
