"""Logs and metrics in at NATS, incidents out at the API, through everything that is real."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import pytest

from tests.support.nats import until
from tests.support.system import Ship

pytestmark = pytest.mark.e2e


def now(seconds: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def attack(device: str, count: int = 3) -> list[tuple[str, Any]]:
    """Each device has attackers of its own; one address on two devices would be one attack."""
    network = f"2001:db8:{crc32(device.encode()) >> 16:x}:{crc32(device.encode()) & 0xFFFF:x}:"
    return [
        (
            "logs.ingested.security.sshd",
            {
                "tracking_id": str(uuid.uuid4()),
                "ts": now(),
                "device_id": device,
                "level": "error",
                "msg": f"Failed password for root from {network}:{n + 1:x} port 4711 ssh2",
            },
        )
        for n in range(count)
    ]


def of_device(ship: Ship, device: str) -> list[dict[str, Any]]:
    return ship.incidents(device=device)


def test_logs_become_an_incident_with_its_evidence(ship: Ship) -> None:
    lines = attack("gw-fast")
    ship.publish(*lines)
    (incident,) = until(lambda: of_device(ship, "gw-fast"), seconds=10, what="an incident")
    assert incident["incident_type"] == "auth_attack"
    assert incident["status"] == "open"
    assert incident["scope"] == [{"device_id": "gw-fast", "service": "sshd"}]
    assert {each["tracking_id"] for each in incident["evidence"]} <= {body["tracking_id"] for _, body in lines}
    assert incident["anomaly_count"] == 3


def test_a_metric_beyond_its_threshold_for_the_hold_becomes_an_incident(ship: Ship) -> None:
    samples = [
        {"ts": now(-400 + 30 * n), "service": "node", "metric_name": "cpu_pct", "metric_value": 97.0, "unit": "%"}
        for n in range(8)
    ]
    ship.publish(*[("metrics.ingested.system.srv-fast", sample) for sample in samples])
    (incident,) = until(lambda: of_device(ship, "srv-fast"), seconds=10, what="an incident")
    assert incident["incident_type"] == "resource_pressure"
    assert "97 is above 85 for 120 s" in incident["evidence"][0]["summary"]


def test_the_incident_is_published_within_the_slo(ship: Ship) -> None:
    """The promise is P95 1.5 s; a quiet system does it in a fraction."""
    lines = attack("gw-slo")
    ship.publish(*lines)
    (incident,) = until(lambda: of_device(ship, "gw-slo"), seconds=10, what="an incident")
    trace = ship.get(f"/api/v3/trace/{incident['tracking_id']}")
    spent = {stage["stage"]: stage["latency_ms"] for stage in trace["stages"]}
    assert sum(value for stage, value in spent.items() if stage in ("detected", "enriched", "correlated")) < 1500


def test_an_incident_is_readable_two_seconds_after_its_publication(ship: Ship) -> None:
    ship.publish(*attack("gw-read"))
    (incident,) = until(lambda: of_device(ship, "gw-read"), seconds=10, what="an incident")
    readable = datetime.now(UTC)
    trace = ship.get(f"/api/v3/trace/{incident['tracking_id']}")
    published = next(stage["at"] for stage in trace["stages"] if stage["stage"] == "correlated")
    assert readable - datetime.fromisoformat(published) < timedelta(seconds=2)


DEEP = b"[" * 10_000 + b"]" * 10_000
RUBBISH: list[tuple[str, bytes, str]] = [
    ("truncated JSON", b'{"metric_name": "cpu_p', "not JSON"),
    ("wrong types", b'{"service": "node", "metric_name": 7, "metric_value": []}', "metric"),
    ("NaN", b'{"service": "node", "metric_name": "m", "metric_value": NaN}', "finite"),
    ("a message of 1 MB", b'{"msg": "' + b"x" * 1_000_000 + b'"}', "bytes, at most"),
    ("invalid UTF-8", b'{"msg": "\xff\xfe"}', "not JSON"),
    ("empty", b"", "empty"),
    ("nested deep", DEEP, "recursion"),
    (
        "year 9999",
        b'{"ts": "9999-12-31T00:00:00Z", "service": "s", "metric_name": "m", "metric_value": 1}',
        "after its",
    ),
]


def test_rubbish_is_kept_with_its_reason_and_nothing_after_it_is_lost(ship: Ship) -> None:
    subject = "metrics.ingested.system.rubbish"
    ship.publish(*[(subject, body) for _, body, _ in RUBBISH], *attack("gw-after-rubbish"))
    until(lambda: of_device(ship, "gw-after-rubbish"), seconds=10, what="an incident after the rubbish")
    letters = until(
        lambda: found if len(found := dead_letters(ship, subject)) >= len(RUBBISH) else None,
        seconds=10,
        what="all dead letters",
    )
    for (name, body, says), letter in zip(RUBBISH, letters, strict=True):
        assert says in letter["reason"], name
        assert letter["size"] == len(body), name
    assert ship.process.poll() is None


def dead_letters(ship: Ship, subject: str) -> list[dict[str, Any]]:
    """The letters in DEAD_LETTERS about one subject, by sequence."""
    import asyncio
    import json

    import nats
    from nats.errors import TimeoutError as NatsTimeoutError
    from nats.js.api import AckPolicy, ConsumerConfig

    async def read() -> list[dict[str, Any]]:
        client = await nats.connect(ship.nats_url)
        try:
            consumer = ConsumerConfig(ack_policy=AckPolicy.NONE)
            pull = await client.jetstream().pull_subscribe("dlq.>", stream="DEAD_LETTERS", config=consumer)
            try:
                messages = await pull.fetch(200, timeout=0.5)
            except NatsTimeoutError:
                return []
            letters = [json.loads(message.data) for message in messages]
            return sorted((x for x in letters if x["subject"] == subject), key=lambda x: int(x["sequence"]))
        finally:
            await client.close()

    return asyncio.run(read())
