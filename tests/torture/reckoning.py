"""The end of every run: the flows catch up, and everything is counted and compared."""

import json
import pickle
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bytewax.testing import run_main

from compose.capture import capture_to
from compose.replay import CollectSink
from flows.vessel import vessel
from operators.capture import CaptureSource
from operators.clickhouse import Reader
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Outgoing
from schemas.settings import Settings
from tests.support.nats import until
from tests.support.parts import Parts
from tests.torture.audit import Audit, audit_ids, audit_messages
from tests.torture.producer import Producer

POLICY = Path(__file__).with_name("policy")
OUTPUTS = ("ANOMALIES", "INCIDENTS", "INSIGHTS", "DEAD_LETTERS", "OPS")
PASSED_ON = ("anomaly.tick", "anomaly.command", "anomaly.device")
SHIP = "ship-1"
DRAINED_S = 300

ENVIRONMENT = {
    "WATCHKEEPER_POLICY_DIR": str(POLICY),
    "WATCHKEEPER_SHIP_ID": SHIP,
    # The shortest window: what was published before a crash is found by reading back, not by the server.
    "WATCHKEEPER_STREAMS": json.dumps({name: {"duplicate_window_s": 1} for name in OUTPUTS}),
    "WATCHKEEPER_LOG_LEVEL": "warning",
}


class Result(NamedTuple):
    """What came of a run; more: figures of its own, by name."""

    name: str
    seed: int
    messages: int
    revisions: int
    audit: Audit
    seconds: float
    more: dict[str, float]


def drain(flows: tuple[str, ...], parts: Parts) -> None:
    """Let every flow catch up and end, in the order of the stream, so that each has seen all of the one before."""
    for flow in flows:
        until(partial(is_level, parts, flow), seconds=DRAINED_S, what=f"{flow} to catch up")
        parts.stop(flow)


def is_level(parts: Parts, flow: str) -> bool:
    """Lag is known as messages arrive, and ticks come each second: it must be read from all streams."""
    said = parts.health(flow)
    return bool(said) and all(said["connected"].values()) and not any(said["lag"].values())


def reckon(flows: tuple[str, ...], parts: Parts, producer: Producer) -> Audit:
    """Count and compare everything, once the flows have ended."""
    return _telemetry(parts, producer) + _streams(flows, parts) + _clickhouse(parts, producer)


def _telemetry(parts: Parts, producer: Producer) -> Audit:
    """Every acknowledged message is in the stream once."""
    capture_to(parts.nats.config, parts.folder / "all.ndjson", stream="TELEMETRY", first=1, count=None)
    with (parts.folder / "all.ndjson").open(encoding="utf-8") as lines:
        found = [json.loads(line)["headers"].get("Nats-Msg-Id") for line in lines]
    return audit_ids("TELEMETRY", producer.ledger, (each for each in found if each))


def _streams(flows: tuple[str, ...], parts: Parts) -> Audit:
    """What was published is what an undisturbed run over the same log publishes."""
    seen = _last_taken_in(parts.folder / "recovery", flows[0])
    capture_to(parts.nats.config, parts.folder / "seen.ndjson", stream="TELEMETRY", first=1, count=seen)
    expected = undisturbed(parts.folder / "seen.ndjson")
    audit = Audit()
    for stream in OUTPUTS:
        wanted = {message.msg_id: message.data for message in expected.values() if message.stream == stream}
        there = [
            (headers["Nats-Msg-Id"], data)
            for _, subject, headers, data in (parts.nats.read(stream) if parts.nats.last_sequence(stream) else ())
            if subject not in PASSED_ON
        ]
        audit += audit_messages(wanted, there)
    return audit


def undisturbed(capture: Path) -> dict[str, Outgoing]:
    """What the vessel flow publishes over a capture, by id, without any crash."""
    out: dict[str, Outgoing] = {}

    def take(message: Outgoing) -> None:
        out.setdefault(f"{message.stream}/{message.msg_id}", message)

    flow = vessel(
        CaptureSource([capture]),
        CollectSink(take),
        load_policy(POLICY),
        Settings(ship_id=SHIP),
        FlowMetrics("undisturbed"),
    )
    run_main(flow)
    return out


def _last_taken_in(recovery: Path, flow: str) -> int:
    """The sequence of TELEMETRY up to which a flow that ended cleanly has taken everything in."""
    (store,) = (recovery / flow).glob("part-*.sqlite3")
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        (saved,) = db.execute(
            "SELECT ser_change FROM snaps WHERE step_id = ? ORDER BY snap_epoch DESC LIMIT 1", (f"{flow}.telemetry",)
        ).fetchone()
    state: Any = pickle.loads(saved)
    return int(state["sequence"])


def _clickhouse(parts: Parts, producer: Producer) -> Audit:
    """Every acknowledged message is a row once, and so is every revision; dead letters of the archive are none."""
    if parts.embedded:
        parts.start_clickhouse()
    until(lambda: parts.query("SELECT 1 AS one"), seconds=60, what="ClickHouse")
    reader = Reader(parts.clickhouse_dsn, "watchkeeper", max_rows=5_000_000, max_seconds=120)
    telemetry = "SELECT tracking_id AS id FROM logs FINAL UNION ALL SELECT tracking_id AS id FROM samples FINAL"
    audit = audit_ids("row", producer.ledger, (row["id"] for row in reader.query(telemetry)))
    stored = [headers["Nats-Msg-Id"] for _, _, headers, _ in parts.nats.read("INCIDENTS")]
    revisions = "SELECT concat(incident_id, ':', toString(revision)) AS id FROM incidents FINAL"
    audit += audit_ids("revision", stored, (row["id"] for row in reader.query(revisions)))
    unread = reader.query("SELECT reason FROM dead_letters FINAL WHERE stream != 'TELEMETRY'")
    reader.close()
    return audit + Audit(wrong=[f"dead letter: {row['reason']}" for row in unread])
