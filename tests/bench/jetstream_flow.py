"""A flow on a real JetStream, in a process of its own, over what a stream holds: how long that took.

`python -m tests.bench.jetstream_flow vessel|detect|archive|floor LAST` reads TELEMETRY up to that sequence and
prints a Run as JSON. Time counts from the first message handed on until everything that follows from the last
one is acknowledged and committed. The flows run as shipped: profile core-fast, recovery on, the shipped epoch (or
WATCHKEEPER_EPOCH_S and others); with BENCH_ENRICHED set the vessel flow enriches as the settings say, else nothing is
enriched. The floor is the same source, each payload read with
json.loads and dropped.
"""

import cProfile
import json
import os
import pstats
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import perf_counter, process_time, sleep, time
from typing import Any, NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from compose.launch import prepare_process
from compose.recovery import prepare_recovery
from flows.archive import archive, retention_days
from flows.correlate import context_of
from flows.detect import OUTPUT_STREAMS as DETECT_STREAMS
from flows.detect import detect_alone, read_subjects
from flows.vessel import OUTPUT_STREAMS as VESSEL_STREAMS
from flows.vessel import vessel
from operators.clickhouse import ClickHouseSink, connector
from operators.jetstream import JetStreamSink, JetStreamSource, NatsConfig
from operators.observability import FlowMetrics, configure_logging
from operators.rebuild import Rebuild
from policy import PolicySet
from schemas.event import RawMessage
from schemas.settings import Settings
from tests.bench.flow_run import profile_policy
from tests.support.nats import Server

CHILD_S = 600


class Run(NamedTuple):
    """What one run took: seconds by the clock and of processor, and messages.

    pauses: of each epoch, the longest time in seconds in which nothing was read. began: the time (time.time())
    of the first message.
    """

    seconds: float
    cpu_seconds: float
    messages: int
    pauses: tuple[float, ...] = ()
    began: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


class Stopwatch:
    """When the first message was handed on, and how long the flow did not ask for more."""

    def __init__(self) -> None:
        self.began = self.cpu_began = self.began_at = 0.0
        self.messages = 0
        self._asked = 0.0
        self._pauses = [0.0]

    def asks(self) -> None:
        """The flow asks for more."""
        now = perf_counter()
        if self.messages:
            self._pauses[-1] = max(self._pauses[-1], now - self._asked)
        self._asked = now

    def count(self, messages: int) -> None:
        """So many more have been handed on."""
        if not self.messages and messages:
            self.began, self.cpu_began, self.began_at = perf_counter(), process_time(), time()
        self.messages += messages

    def epoch(self) -> None:
        """An epoch ends; its pause is still to come, so it belongs to the next."""
        self._pauses.append(0.0)

    def stop(self) -> Run:
        """Everything is done."""
        seconds, cpu_seconds = perf_counter() - self.began, process_time() - self.cpu_began
        return Run(seconds, cpu_seconds, self.messages, tuple(self._pauses[1:]), self.began_at)


class UntilSource(FixedPartitionedSource[RawMessage, Any]):
    """A JetStreamSource that ends after a sequence of its one stream."""

    def __init__(self, source: JetStreamSource, last: int, watch: Stopwatch) -> None:
        self._source = source
        self._last = last
        self._watch = watch

    def list_parts(self) -> list[str]:
        return self._source.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> StatefulSourcePartition[RawMessage, Any]:
        return _UntilPart(self._source.build_part(step_id, for_part, resume_state), self._last, self._watch)


class _UntilPart(StatefulSourcePartition[RawMessage, Any]):
    def __init__(self, part: StatefulSourcePartition[RawMessage, Any], last: int, watch: Stopwatch) -> None:
        self._part = part
        self._last = last
        self._watch = watch

    def next_batch(self) -> Any:
        self._watch.asks()
        if (self._part.snapshot()["sequence"] or 0) >= self._last:
            raise StopIteration
        batch: Any = self._part.next_batch()
        self._watch.count(len(batch))
        return batch

    def snapshot(self) -> Any:
        self._watch.epoch()
        return self._part.snapshot()

    def close(self) -> None:
        self._part.close()


class Nowhere(DynamicSink[Any]):
    """Drops everything."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        return _Nowhere()


class _Nowhere(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


def floor_flow(source: Any) -> Dataflow:
    """Read each payload, and drop it."""

    def read(batch: list[RawMessage]) -> Iterator[None]:
        for raw in batch:
            if raw.data:
                json.loads(raw.data)
        return iter(())

    flow = Dataflow("floor")
    op.output("nowhere", op.flat_map_batch("read", op.input("telemetry", flow, source), read), Nowhere())
    return flow


def wait_for_others(folder: Path) -> None:
    """Say that this process is ready, and wait until all are told to go."""
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists():
        sleep(0.002)


def go_together(children: Sequence[subprocess.Popen[str]], folder: Path) -> None:
    """Wait until every child is ready, then let them go."""
    while len(list(folder.glob("ready-*"))) < len(children):
        if any(child.poll() is not None for child in children):
            raise RuntimeError("a run ended before it began, see its log above")
        sleep(0.01)
    (folder / "go").touch()


def run(kind: str, last: int, settings: Settings) -> Run:
    """Run one flow in this process, up to a sequence of TELEMETRY (from where it was, if its store says so)."""
    nats, metrics, watch = NatsConfig.of(settings), FlowMetrics(kind), Stopwatch()
    stop = threading.Event()
    source: Any = UntilSource(
        JetStreamSource(
            nats,
            ["TELEMETRY"],
            window=settings.source_window,
            batch=settings.source_batch,
            metrics=metrics,
            stop=stop,
            ticks=kind in ("vessel", "detect"),
            subjects=read_subjects(settings) if kind == "detect" else (),
        ),
        last,
        watch,
    )
    if kind == "floor":
        run_main(floor_flow(source))
        return watch.stop()
    recovery = prepare_recovery(settings.recovery_dir(kind))
    flow = wired(kind, source, settings, metrics, stop)
    if (barrier := os.environ.get("BENCH_BARRIER")) is not None:
        wait_for_others(Path(barrier))
    run_main(flow, epoch_interval=timedelta(seconds=settings.epoch_s), recovery_config=recovery)
    return watch.stop()


def wired(kind: str, source: Any, settings: Settings, metrics: FlowMetrics, stop: threading.Event) -> Dataflow:
    """The flow of that name, as shipped but for its source."""
    policy = profile_policy("core-fast")
    if kind == "archive":
        return archive(source, clickhouse_sink(settings, policy, metrics), policy, settings, metrics)
    streams = VESSEL_STREAMS if kind == "vessel" else DETECT_STREAMS
    sink = JetStreamSink(NatsConfig.of(settings), streams, metrics=metrics, wait_s=settings.nats_wait_s, stop=stop)
    if kind == "detect":
        return detect_alone(source, sink, policy, settings, metrics)
    context = context_of(policy, settings, Rebuild()) if os.environ.get("BENCH_ENRICHED") else None
    return vessel(source, sink, policy, settings, metrics, context=context)


def clickhouse_sink(settings: Settings, policy: PolicySet, metrics: FlowMetrics) -> ClickHouseSink:
    """The archive's sink as shipped, into chDB in the data folder."""
    dsn = f"chdb://{settings.data_dir / 'clickhouse'}"
    connect = connector(dsn, settings.clickhouse_database, retention_days(policy, settings.ship_id))
    connect().close()  # the tables are there before time counts
    return ClickHouseSink(connect, settings.clickhouse_database, metrics=metrics, stop=threading.Event())


def in_child(kind: str, server: Server, last: int, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own; environment: settings by their names."""
    set_by_us = {
        "NATS_URL": server.url,
        "WATCHKEEPER_DATA_DIR": str(folder),
        "WATCHKEEPER_LOG_LEVEL": "warning",
        **environment,
    }
    command = [sys.executable, "-m", "tests.bench.jetstream_flow", kind, str(last)]
    return subprocess.Popen(command, env={**os.environ, **set_by_us}, stdout=subprocess.PIPE, text=True)


def result(child: subprocess.Popen[str]) -> Run:
    """Wait for the child's Run."""
    said, _ = child.communicate(timeout=CHILD_S)
    if child.returncode:
        raise RuntimeError(f"a run ended with {child.returncode}, see its log above")
    return Run(*json.loads(said))


def main(arguments: Sequence[str]) -> int:
    """The child; with BENCH_PROFILE set, the costs of the worker's thread go to standard error."""
    kind, last = arguments
    settings = Settings.load()
    prepare_process()
    configure_logging(settings.log_level, settings.log_format)
    profiler = cProfile.Profile() if os.environ.get("BENCH_PROFILE") else None
    if profiler is None:
        done = run(kind, int(last), settings)
    else:
        done = profiler.runcall(run, kind, int(last), settings)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    sys.stdout.write(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
