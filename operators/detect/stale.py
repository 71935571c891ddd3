"""stale: a series silent for longer than its own rhythm explains (dead man)."""

from struct import Struct
from typing import Any

from operators.detect.finding import Finding, clock_time, number
from operators.detect.tail import PeakTail, TailSettings

_STATE = Struct("<B6d?")
VERSION = 1


class Stale:
    """Fires at a deadline that a series sets by its own rhythm; any sample clears it.

    With g the weighted mean of the gaps between samples (weight fading, 1 / n while n is smaller,
    each gap clipped to `clip` g) and the gaps r = gap / g as peaks of a PeakTail,

        deadline = last sample + max(min_s, bound g),

    once min_gaps gaps are known. A steady series earns a near deadline, a bursty one a far one. Time
    is log time (arrival, which never goes back): samples that arrive together count as one, an
    earlier one changes nothing. score = q / (1 + q), q = silence / (deadline - last): 0.5 at the
    deadline. The caller need not move a timer with every sample: keep one, and when it rings ask
    due(); if it answers None, set the timer to `deadline`. State: 7 numbers a series (≤ 80 bytes in
    a snapshot, ≤ 500 in memory); cost: about 0.4 µs a sample. Source: the dead man's switch of
    monitoring systems, the adaptive failure detectors of Chen, Toueg and Aguilera 2002.

    >>> pulse = Stale()
    >>> arrivals = [pulse.seen(5.0 * i) for i in range(10_000)]
    >>> round(pulse.deadline - 49_995)
    60
    >>> pulse.due(50_000), pulse.due(50_060).state, pulse.seen(50_100).state
    (None, 'firing', 'cleared')
    """

    __slots__ = ("_gap", "_last", "_seen", "_settings", "_tail", "firing")

    def __init__(
        self,
        *,
        risk: float = 1e-7,
        min_s: float = 60.0,
        min_gaps: int = 20,
        fading: float = 0.02,
        clip: float = 3.0,
        level: float = 3.0,
        tail_scale: float = 1.0,
        tail: TailSettings | None = None,
    ) -> None:
        self._settings = (min_s, min_gaps, fading, clip)
        self._tail = PeakTail(tail or TailSettings(level, risk, shape=3.0, scale=tail_scale))
        self.firing = False
        self._seen = 0.0
        self._last = 0.0
        self._gap = 0.0

    @property
    def deadline(self) -> float | None:
        """When it fires if nothing is seen until then; None while unknown, or firing already."""
        return None if self.firing else self._deadline()

    def _deadline(self) -> float | None:
        if self._seen <= self._settings[1]:
            return None
        return self._last + max(self._settings[0], self._tail.bound() * self._gap)

    def seen(self, at: float) -> Finding | None:
        """A sample has arrived (log time, seconds since 1970)."""
        if at - at != 0.0:
            return None
        if not self._seen:
            self._seen, self._last = 1.0, at
            return None
        gap = at - self._last
        if gap <= 0.0:
            return None
        finding = self._back(at, gap) if self.firing else None
        self._learn(gap)
        self._last = at
        return finding

    def _learn(self, gap: float) -> None:
        _, min_gaps, fading, clip = self._settings
        self._tail.count()
        usual = self._gap
        if self._seen > min_gaps:
            if gap > self._tail.settings.level * usual:
                self._tail.add(gap / usual)
            gap = min(gap, clip * usual)
        self._gap += max(fading, 1.0 / self._seen) * (gap - usual)
        self._seen += 1.0

    def _back(self, at: float, gap: float) -> Finding:
        self.firing = False
        msg = f"seen again after {number(gap)} s of silence (since {clock_time(self._last)})"
        return Finding("cleared", 0.0, None, None, None, self._last, msg)

    def due(self, at: float) -> Finding | None:
        """Log time has reached this; fires when the deadline has passed."""
        deadline = self.deadline
        if deadline is None or at - at != 0.0 or at < deadline:
            return None
        self.firing = True
        ratio = (at - self._last) / (deadline - self._last)
        msg = (
            f"silent since {clock_time(self._last)}: usually a sample every {number(self._gap)} s, "
            f"{number(deadline - self._last)} s would still be usual"
        )
        return Finding("firing", ratio / (1.0 + ratio), None, None, None, self._last, msg)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: one short byte string."""
        tail = self._tail
        numbers = (self._seen, self._last, self._gap, tail.samples, tail.peaks, tail.excess)
        return {"stale": _STATE.pack(VERSION, *numbers, self.firing)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        version, self._seen, self._last, self._gap, *tail, self.firing = _STATE.unpack(state["stale"])
        if version != VERSION:
            raise ValueError(f"stale: snapshot version {version}, expected {VERSION}; start afresh")
        self._tail.samples, self._tail.peaks, self._tail.excess = tail
