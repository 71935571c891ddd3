"""One of the fixed slots of detect: dispatches by what it gets, and keeps the state."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from operators.detect.lines import LineTable
from operators.detect.log_history import LogHistory
from operators.detect.samples import Found, SampleTable
from operators.detect.upgrade import from_v2, from_v3, from_v4
from policy import PolicySet
from schemas.event import Event
from schemas.ops import OpsTick
from schemas.telemetry import LogMessage, MetricSample

SNAPSHOT_VERSION = 5
EXPIRY_EVERY = timedelta(minutes=10)
MIN_ROUND_S = 60


class SlotTick(OpsTick):
    """A tick for one slot of detect; another slot's passes it on."""


class DetectSlot:
    """Feeds samples and lines to their series; gives anomalies, and notes for the SilenceBoard, in order.

    take_sample(event, sample, name of its series) is process() for samples, for who knows that it has one.
    Commands, device records and ticks pass through; a SlotTick does its work and goes no further.
    State: that of SampleTable and LineTable; history stands in for that of lines where there is none.
    """

    def __init__(
        self, policy: PolicySet, *, max_series: int, slots: int = 1, history: LogHistory | None = None
    ) -> None:
        self._slots = slots
        self._samples = SampleTable(policy, max_series=max_series, pause_s=2.5 * max(slots, MIN_ROUND_S))
        self.take_sample = self._samples.take
        self._lines = LineTable(policy, max_series=max_series, history=history)
        self._expire_at: datetime | None = None

    def process(self, event: Event) -> Iterable[Found]:
        """Take one event; events must come in order."""
        body = event.body
        if isinstance(body, MetricSample):
            return self.take_sample(event, body)
        if isinstance(body, LogMessage):
            return self._lines.take(event, body)
        if isinstance(body, OpsTick):
            found = list(self._tick(event))
            return found if isinstance(body, SlotTick) else [*found, event]
        return (event,)

    def _tick(self, event: Event) -> Iterator[Found]:
        yield from self._lines.tick(event)
        yield from self._samples.tick(event)
        due = self._expire_at
        if due is None or event.at >= due or due - event.at > EXPIRY_EVERY:  # the last: the clock was set back
            self._expire_at = event.at + EXPIRY_EVERY
            self._lines.expire(event)
            yield from self._samples.expire(event)

    def settle(self) -> None:
        """Do now what the end of the epoch would otherwise wait for; call it after each batch."""
        self._samples.settle()

    def take_counts(self) -> Counter[str]:
        """What was not judged since the last call, by reason."""
        counts = self._lines.take_counts()
        counts.update(self._samples.counts)
        self._samples.counts.clear()
        return counts

    def take_capped(self) -> list[tuple[str, str]]:
        """Ships whose log lines went beyond a cap for the first time, with the cap's name (lines.CAPS)."""
        return self._lines.take_capped()

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
        """Take over a snapshot, also of a version before; it then behaves as if it had never stopped.

        Raises:
            ValueError: for a snapshot of another version, or kept in another number of slots.
        """
        if state["v"] == 2:
            state = from_v2(state)
        if state["v"] == 3:
            state = from_v3(state)
        if state["v"] == 4:
            state = from_v4(state)
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"detect: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        if state["slots"] != self._slots:
            raise ValueError(
                f"detect: this state was kept in {state['slots']} slots, WATCHKEEPER_DETECT_SLOTS is {self._slots}; "
                "set it back"
            )
        self._expire_at = state["expire_at"]
        self._samples.restore(state["samples"])
        self._lines.restore(state["lines"])
