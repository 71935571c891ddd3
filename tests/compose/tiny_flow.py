"""A flow that counts, for tests of the launcher: `python -m tests.compose.tiny_flow MODE` with settings by environment.

MODE: count, nats_error (raises NatsError), policy_error, bug (raises ValueError), stuck (never looks at stop),
stateful, stateful_later, stateful_broken (keep state; refuse that of another version; trip over it).
"""

import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from compose.launch import FlowFactory, run_flow
from operators.jetstream import NatsError
from operators.observability import FlowMetrics, configure_logging
from operators.stored_state import reading_state
from policy import PolicyError
from schemas.settings import Settings


class Part(StatefulSourcePartition[int, int]):
    def __init__(self, resume: int | None, mode: str, metrics: FlowMetrics, stop: threading.Event) -> None:
        self.n = resume or 0
        metrics.nats_connected.labels(stream="only").set(1)
        self.counted = metrics.messages_in.labels(stream="only")
        self.mode = mode
        self.stop = stop
        sys.stdout.write(f"resumed {self.n}\n")
        sys.stdout.flush()

    def next_batch(self) -> list[int]:
        if self.stop.is_set() and self.mode != "stuck":
            raise StopIteration
        if self.n >= 3 and self.mode == "nats_error":
            raise NatsError("NATS at nats://nowhere is gone: start it")
        if self.n >= 3 and self.mode == "bug":
            raise ValueError("a bug")
        self.n += 1
        self.counted.inc()
        return [self.n]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=20)

    def snapshot(self) -> int:
        return self.n


class Source(FixedPartitionedSource[int, int]):
    def __init__(self, mode: str, metrics: FlowMetrics, stop: threading.Event) -> None:
        self.mode, self.metrics, self.stop = mode, metrics, stop

    def list_parts(self) -> list[str]:
        return ["only"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Part:
        return Part(resume_state, self.mode, self.metrics, self.stop)


class Nowhere(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


class NowhereSink(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> Nowhere:
        return Nowhere()


class Keeper(StatefulBatchLogic[int, int, dict[str, int]]):
    def __init__(self, mode: str, resume: dict[str, int] | None) -> None:
        if resume is not None and mode != "stateful":
            with reading_state("keeper"):
                if mode == "stateful_later":
                    raise ValueError(f"snapshot version {resume['v']}, expected 2")
                resume["renamed"]

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        return values, StatefulBatchLogic.RETAIN

    def snapshot(self) -> dict[str, int]:
        return {"v": 1}


def tiny(mode: str) -> FlowFactory:
    def factory(settings: Settings, metrics: FlowMetrics, stop: threading.Event) -> Dataflow:
        if mode == "policy_error":
            raise PolicyError(Path("detect.yaml"), 14, "detect.tresholds", "a known key")
        flow = Dataflow("tiny")
        numbers = op.input("numbers", flow, Source(mode, metrics, stop))
        if mode.startswith("stateful"):
            keyed = op.key_on("keyed", numbers, lambda number: "one")
            kept = op.stateful_batch("keeper", keyed, lambda resume: Keeper(mode, resume))
            numbers = op.key_rm("numbers_again", kept)
        op.output("out", numbers, NowhereSink())
        return flow

    return factory


if __name__ == "__main__":
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    sys.exit(run_flow("vessel", settings, tiny(sys.argv[1])))
