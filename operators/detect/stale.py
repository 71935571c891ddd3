"""stale: a series silent for longer than its own rhythm explains (dead man)."""

from struct import Struct
from typing import Any, NamedTuple

from operators.detect.finding import Finding, clock_time, number
from operators.detect.tail import PeakTail, TailSettings

_STATE = Struct("<B5d?")
SIZE = _STATE.size
"""Bytes of the state."""

VERSION = 2


class StaleSettings(NamedTuple):
    """What all series of one policy share.

    min_s: no silence shorter than this is told. min_gaps: gaps between samples that make a rhythm
    known. fading: weight of a new gap. tail: its level is in usual gaps; longer ones are clipped to it.
    """

    min_s: float = 60.0
    min_gaps: int = 20
    fading: float = 0.02
    tail: TailSettings = TailSettings(3.0, 1e-7, shape=3.0, scale=1.0)


class Stale:
    """Fires at a deadline that a series sets by its own rhythm; any sample clears it.

    With g the weighted mean of the gaps between samples (weight fading, 1 / n while n is smaller,
    each gap clipped to `level` g) and the longer ones r = gap / g as peaks of a PeakTail,

        deadline = last sample + max(min_s, bound g),

    once min_gaps gaps are known. A steady series earns a near deadline, a bursty one a far one. Time
    is log time (arrival, which never goes back): samples that arrive together count as one, an
    earlier one changes nothing. score = q / (1 + q), q = silence / (deadline - last): 0.5 at the
    deadline. No timer moves with a sample: ask due() now and then. State: 5 numbers a series (42
    bytes in a snapshot, about 200 in memory); cost: about 0.3 µs a sample. Source: the dead man's
    switch of monitoring systems, the adaptive failure detectors of Chen, Toueg and Aguilera 2002.

    >>> pulse = Stale()
    >>> arrivals = [pulse.seen(5.0 * i) for i in range(10_000)]
    >>> round(pulse.deadline - 49_995)
    60
    >>> pulse.due(50_000), pulse.due(50_060).state, pulse.seen(50_100).state
    (None, 'firing', 'cleared')
    """

    __slots__ = ("_excess", "_gap", "_gaps", "_peaks", "firing", "last", "settings")

    def __init__(self, settings: StaleSettings | None = None) -> None:
        self.settings = settings or _DEFAULT
        self.firing = False
        self.last: float | None = None
        self._gap = 0.0
        self._gaps = 0.0
        self._peaks = 0.0
        self._excess = 0.0

    @property
    def known(self) -> bool:
        """Whether the rhythm is known, so that silence can be told."""
        return self._gaps >= self.settings.min_gaps

    @property
    def deadline(self) -> float | None:
        """When it fires if nothing is seen until then; None while unknown, or firing already."""
        return None if self.firing or self.last is None or not self.known else self.last + self._allowed()

    def _allowed(self) -> float:
        """Seconds of silence that are still usual."""
        return max(self.settings.min_s, self._tail().bound() * self._gap)

    def seen(self, at: float) -> Finding | None:
        """A sample has arrived (log time, seconds since 1970)."""
        if at - at != 0.0:
            return None
        last = self.last
        if last is None:
            self.last = at
            return None
        gap = at - last
        if gap <= 0.0:
            return None
        finding = self._back(last, gap) if self.firing else None
        _, min_gaps, fading, (level, _, _, _, memory) = self.settings
        usual = self._gap
        gaps = self._gaps = self._gaps + 1.0
        if gap > level * usual > 0.0 and gaps > min_gaps:
            gap = self._long(gap, usual, was_told=finding is not None)
        if gaps >= 2.0 * memory:
            self._forget_half()
        part = 1.0 / gaps
        self._gap = usual + (fading if fading > part else part) * (gap - usual)
        self.last = at
        return finding

    def _long(self, gap: float, usual: float, *, was_told: bool) -> float:
        """A gap above the level is a peak; returns what the mean takes of it.

        A silence that was told counts for little at first, and for more each time: one outage must not
        teach patience, a pause that comes again and again is part of the rhythm.
        """
        tail = self._tail()
        level, _, _, scale, _ = tail.settings
        told = level + 2.0 * scale * (1.0 + tail.peaks)
        tail.add(min(gap / usual, told) if was_told else gap / usual)
        self._peaks, self._excess = tail.peaks, tail.excess
        return tail.settings.level * usual

    def _forget_half(self) -> None:
        """As PeakTail.count() does: from here on history counts half."""
        self._gaps *= 0.5
        self._peaks *= 0.5
        self._excess *= 0.5

    def _tail(self) -> PeakTail:
        tail = PeakTail(self.settings.tail)
        tail.samples, tail.peaks, tail.excess = self._gaps, self._peaks, self._excess
        return tail

    def _back(self, last: float, gap: float) -> Finding:
        self.firing = False
        msg = f"seen again after {number(gap)} s of silence (since {clock_time(last)})"
        return Finding("cleared", 0.0, None, None, None, last, msg)

    def due(self, at: float, resumed: float = float("-inf")) -> Finding | None:
        """Log time has reached this; fires when the deadline has passed.

        resumed: when the log went on after a pause in which nothing was heard of anybody; silence
        before it proves nothing, so the deadline counts from there.
        """
        last = self.last
        if last is not None and float("-inf") < at < last:
            last = self.last = at  # the clock was set back: it counts from there
        if last is None or self.firing or not last + self.settings.min_s <= at < float("inf") or not self.known:
            return None
        allowed = self._allowed()
        if at < max(last, resumed) + allowed:
            return None
        self.firing = True
        ratio = (at - last) / (last + allowed - last)
        msg = (
            f"silent since {clock_time(last)}: usually a sample every {number(self._gap)} s, "
            f"{number(allowed)} s would still be usual"
        )
        return Finding("firing", ratio / (1.0 + ratio), None, None, None, last, msg)

    def pack(self) -> bytes:
        """The state as SIZE bytes."""
        last = float("nan") if self.last is None else self.last
        return _STATE.pack(VERSION, last, self._gap, self._gaps, self._peaks, self._excess, self.firing)

    def unpack(self, state: bytes) -> None:
        """Take over packed state."""
        version, last, self._gap, self._gaps, self._peaks, self._excess, self.firing = _STATE.unpack(state)
        if version != VERSION:
            raise ValueError(f"stale: snapshot version {version}, expected {VERSION}; start afresh")
        self.last = last if last == last else None

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: one short byte string."""
        return {"stale": self.pack()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.unpack(state["stale"])


_DEFAULT = StaleSettings()
