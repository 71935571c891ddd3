"""The whole vessel flow with context, for the crash test.

`python -m tests.operators.enrich.crash_flow FOLDER DSN DATABASE`. Reads the messages of story(), a few
every 20 ms, and appends what it publishes to FOLDER/out, a line each, flushed at once: as JetStream
sees it, repeats included. With recovery in FOLDER/recovery.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.enrich import open_context
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Outgoing, RawMessage
from tests.support.flow import SETTINGS
from tests.support.make import raw

DEVICES, MINUTES, EACH = 60, 6, 3


def story() -> list[RawMessage]:
    """A fleet of servers whose CPUs run hot, one after the other: an anomaly each."""
    hot = {"service": "node", "metric_name": "cpu_pct", "metric_value": 95.0}
    return [
        raw(
            minute * DEVICES + n + 1,
            f"metrics.ingested.system.srv-{n}",
            {**hot, "device_id": f"srv-{n}"},
            minute * 60.0 + n * 60.0 / DEVICES,
        )
        for minute in range(MINUTES)
        for n in range(DEVICES)
    ]


class Part(StatefulSourcePartition[RawMessage, int]):
    """Messages from where the last snapshot left off."""

    def __init__(self, resume: int | None) -> None:
        self.n = resume or 0
        self.messages = story()

    def next_batch(self) -> list[RawMessage]:
        if self.n >= len(self.messages):
            raise StopIteration
        first, self.n = self.n, self.n + EACH
        return self.messages[first : self.n]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=20)

    def snapshot(self) -> int:
        return self.n


class Source(FixedPartitionedSource[RawMessage, int]):
    """The story in one partition."""

    def list_parts(self) -> list[str]:
        return ["only"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Part:
        return Part(resume_state)


def run(folder: Path, dsn: str, database: str) -> None:
    out = (folder / "out").open("ab", buffering=0)

    def take(message: Outgoing) -> None:
        told = {"id": message.msg_id, "subject": message.subject, "body": json.loads(message.data)}
        out.write(json.dumps(told).encode() + b"\n")

    policy = load_policy(None)
    # Far longer than policy allows: what the test shows must not depend on how busy the machine is.
    context = open_context(dsn, database, policy.default.enrich.model_copy(update={"timeout_ms": 10_000.0}))
    flow = vessel(Source(), CollectSink(take), policy, SETTINGS, FlowMetrics("test"), None, context)
    recovery = folder / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    run_main(flow, epoch_interval=timedelta(milliseconds=50), recovery_config=RecoveryConfig(str(recovery)))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
