"""A flow with async_map over numbers, for the crash test: `python -m tests.operators.async_flow FOLDER COUNT [linger]`.

Writes each output as a line of FOLDER/out, and each call as a line of FOLDER/calls; both are flushed
at once. With recovery in FOLDER/recovery. Outputs written after the last snapshot are written again
by the next run, as everything after a snapshot is; the sink's own snapshot says how many lines count.
"""

import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from operators.async_map import AsyncLimits, async_map

Numbers = tuple[str, int]


class Part(StatefulSourcePartition[Numbers, int]):
    def __init__(self, resume: int | None, count: int) -> None:
        self.n = resume or 0
        self.count = count

    def next_batch(self) -> list[Numbers]:
        if self.n >= self.count:
            raise StopIteration
        first, self.n = self.n, min(self.count, self.n + 5)
        return [("all", n) for n in range(first, self.n)]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=2)

    def snapshot(self) -> int:
        return self.n


class Source(FixedPartitionedSource[Numbers, int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def list_parts(self) -> list[str]:
        return ["only"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Part:
        return Part(resume_state, self.count)


class File(StatefulSinkPartition[int, int]):
    """Lines of a file; on resume, those after the snapshot are cut off, so each effect is there once."""

    def __init__(self, path: Path, resume: int | None) -> None:
        self.file = path.open("a+b", buffering=0)
        self.file.truncate(resume or 0)
        self.file.seek(0, os.SEEK_END)

    def write_batch(self, values: list[int]) -> None:
        for value in values:
            self.file.write(f"{value}\n".encode())

    def snapshot(self) -> int:
        return self.file.tell()


class Sink(FixedPartitionedSink[int, int]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def list_parts(self) -> list[str]:
        return ["only"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> File:
        return File(self.path, resume_state)


def run(folder: Path, count: int) -> None:
    calls = (folder / "calls").open("ab", buffering=0)
    dice = random.Random(os.getpid())

    def call(numbers: list[int]) -> list[int]:
        calls.write(("".join(f"{n}\n" for n in numbers)).encode())
        time.sleep(dice.random() * 0.02)
        return [n * 10 for n in numbers]

    limits = AsyncLimits(timeout_s=5.0, capacity=64, workers=4, max_batch=4)
    flow = Dataflow("numbers")
    numbers = op.input("numbers", flow, Source(count))
    doubled = async_map("map", numbers, call, on_failure=lambda n, error: -n, limits=limits)
    op.output("out", doubled, Sink(folder / "out"))
    recovery = folder / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    run_main(flow, epoch_interval=timedelta(milliseconds=50), recovery_config=RecoveryConfig(str(recovery)))


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
