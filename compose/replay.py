"""Replay: the vessel flow over a capture, without NATS, as fast as it goes."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from flows.vessel import vessel
from operators.capture import CaptureSource, read_captures
from operators.observability import FlowMetrics
from policy import PolicySet
from schemas.event import Outgoing
from schemas.settings import Settings

Emit = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass
class Summary:
    """What a replay read and what came of it; messages are counted by stream and subject's last part."""

    lines: int = 0
    seconds: float = 0.0
    incidents: int = 0
    published: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        rate = self.lines / self.seconds if self.seconds else 0.0
        return (
            f"{self.lines} messages in {self.seconds:.1f} s ({rate:,.0f}/s): "
            f"{self.published['ANOMALIES/detected']} anomalies, {self.incidents} incidents, "
            f"{self.published['DEAD_LETTERS/telemetry']} dead letters"
        )


class _Collector(StatelessSinkPartition[tuple[str, Outgoing]]):
    def __init__(self, take: Callable[[Outgoing], None]) -> None:
        self._take = take

    def write_batch(self, items: list[tuple[str, Outgoing]]) -> None:
        for _, message in items:
            self._take(message)


class CollectSink(DynamicSink[tuple[str, Outgoing]]):
    """Hands every message to a function at once; nothing is kept, nothing is promised after a crash."""

    def __init__(self, take: Callable[[Outgoing], None]) -> None:
        self._take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Collector:
        """One collector a worker."""
        return _Collector(self._take)


def replay(
    paths: Sequence[Path],
    policy: PolicySet,
    settings: Settings,
    emit: Emit,
    *,
    final: bool = False,
    batch: int | Callable[[], int] = 500,
    progress: Progress | None = None,
) -> Summary:
    """Run the vessel flow over captures and emit its incidents as JSON lines.

    Every revision as it is published, or with final each incident once, in its last state, in the
    order of opening. The captures are read through first, so a bad one is refused before any output.
    progress is told the lines read and the lines in all, as it goes.

    Raises:
        CaptureError: naming file and line.
    """
    summary = Summary()
    started = perf_counter()
    summary.lines = sum(1 for _ in read_captures(paths))
    last: dict[str, str] = {}
    ids: set[str] = set()

    def tell(read: int) -> None:
        if progress is not None:
            progress(read, summary.lines)

    def take(message: Outgoing) -> None:
        summary.published[f"{message.stream}/{message.subject.split('.')[1]}"] += 1
        if message.stream != "INCIDENTS":
            return
        text = message.data.decode()
        incident_id: Any = json.loads(text)["incident_id"]
        ids.add(incident_id)
        if final:
            last[incident_id] = text
        else:
            emit(text)

    run_main(
        vessel(
            CaptureSource(paths, batch=batch, on_read=tell), CollectSink(take), policy, settings, FlowMetrics("replay")
        )
    )
    for text in last.values():
        emit(text)
    summary.incidents = len(ids)
    summary.seconds = perf_counter() - started
    return summary
