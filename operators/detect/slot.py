"""One of the fixed slots of detect: dispatches by what it gets, and keeps the state."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from operators.detect.lines import LineTable
from operators.detect.samples import SampleTable
from policy import PolicySet
from schemas.event import Event
from schemas.ops import OpsTick
from schemas.telemetry import LogMessage, MetricSample

SNAPSHOT_VERSION = 2
EXPIRY_EVERY = timedelta(minutes=10)


class SlotTick(OpsTick):
    """A tick for one slot of detect; another slot's passes it on."""


class DetectSlot:
    """Feeds samples and lines to their series; gives anomalies, in order.

    Commands, device records and ticks pass through; a SlotTick does its work and goes no further.
    State: that of SampleTable and LineTable.
    """

    def __init__(self, policy: PolicySet, *, max_series: int, slots: int = 1) -> None:
        self._slots = slots
        self._samples = SampleTable(policy, max_series=max_series)
        self._lines = LineTable(policy, max_series=max_series)
        self._expire_at: datetime | None = None

    def process(self, event: Event) -> Iterator[Event]:
        """Take one event; events must come in order."""
        body = event.body
        if isinstance(body, MetricSample):
            yield from self._samples.take(event, body)
        elif isinstance(body, LogMessage):
            yield from self._lines.take(event, body)
        elif isinstance(body, OpsTick):
            yield from self._tick(event)
            if not isinstance(body, SlotTick):
                yield event
        else:
            yield event

    def _tick(self, event: Event) -> Iterator[Event]:
        yield from self._lines.tick(event)
        yield from self._samples.tick(event)
        if self._expire_at is None or event.at >= self._expire_at:
            self._expire_at = event.at + EXPIRY_EVERY
            self._lines.expire(event)
            yield from self._samples.expire(event)

    def take_counts(self) -> Counter[str]:
        """What was not judged since the last call, by reason."""
        counts = self._samples.counts + self._lines.counts
        self._samples.counts.clear()
        self._lines.counts.clear()
        return counts

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "slots": self._slots,
            "expire_at": self._expire_at,
            "samples": self._samples.snapshot(),
            "lines": self._lines.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then behaves as if it had never stopped.

        Raises:
            ValueError: for a snapshot of another version, or kept in another number of slots.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"detect: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        if state["slots"] != self._slots:
            raise ValueError(
                f"detect: this state was kept in {state['slots']} slots, WATCHKEEPER_DETECT_SLOTS is {self._slots}; "
                "set it back, or move the recovery folder away to start afresh"
            )
        self._expire_at = state["expire_at"]
        self._samples.restore(state["samples"])
        self._lines.restore(state["lines"])
