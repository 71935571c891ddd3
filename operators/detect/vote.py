"""vote: the detectors of one series speak with one voice, steadily."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from operators.detect.finding import Finding, MetricDetector, number
from operators.detect.hysteresis import Change, Hysteresis

RANKS_ALL = "record_surprise"
"""The detector whose score ranks also what does not fire."""


class Voter(NamedTuple):
    """One detector and the name under which it votes."""

    name: str
    machine: MetricDetector


class Vote:
    """Fires while any of its detectors does, and says which, each with its own statistic and bound.

    All voters see every sample. Firing and clearing go through Hysteresis, made when a voter first
    fires: it holds for a while, and a series that fires again and again is one finding marked
    flapping. A clearing and a firing that fall on one sample cancel out. score, expected value and
    bounds of a finding are those of its strongest voter. State: that of the voters (about 130 bytes
    more in memory for one, 20 in a snapshot), and once it has fired that of the hysteresis and what
    each firing voter said. Cost: the sum of the voters' and 0.3 µs.
    """

    __slots__ = ("_began", "_hysteresis", "_machines", "_names", "_said", "_steady")

    def __init__(self, voters: Sequence[Voter], steady: Callable[[], Hysteresis] = Hysteresis) -> None:
        self._names = _shared(tuple(name for name, _ in voters))
        self._machines = tuple(machine for _, machine in voters)
        self._steady = steady
        self._hysteresis: Hysteresis | None = None
        self._said: dict[str, Finding] | None = None
        self._began = 0.0

    @property
    def voters(self) -> list[Voter]:
        """The detectors and their names."""
        return [Voter(name, machine) for name, machine in zip(self._names, self._machines, strict=True)]

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._hysteresis is not None and self._hysteresis.firing

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1].

        That of the finding that began with it; else record_surprise's, which ranks what does not fire;
        else the highest of all.
        """
        if self._began:
            return self._began
        if RANKS_ALL in self._names:
            return self._machines[self._names.index(RANKS_ALL)].score
        return max((machine.score for machine in self._machines), default=0.0)

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        self._began = 0.0
        cleared = None
        machines = self._machines
        for machine in machines:
            finding = machine.update(at, value)
            if finding is not None:
                cleared = self._hear(self._names[machines.index(machine)], finding) or cleared
        if self._hysteresis is None:
            if not self._said:
                return None
            self._hysteresis = self._steady()
        changes = self._hysteresis.update(at, bool(self._said))
        if not changes or (len(changes) > 1 and changes[-1].state == "firing"):
            return None
        return self._finding(changes[-1], value, cleared)

    def _hear(self, name: str, finding: Finding) -> Finding | None:
        """Keep what a voter says while it fires; gives back that it has cleared."""
        if self._said is None:
            self._said = {}
        if finding.state == "cleared":
            self._said.pop(name, None)
            return finding
        self._said[name] = finding._replace(votes=())
        return None

    def _finding(self, change: Change, value: float, cleared: Finding | None) -> Finding:
        if change.state == "cleared":
            if cleared is not None and len(self._names) == 1:
                return cleared._replace(since=min(cleared.since, change.since))
            msg = f"{number(value)}: as expected again, or the new normal"
            return Finding("cleared", 0.0, None, None, None, change.since, msg)
        votes = tuple(sorted((self._said or {}).items()))
        strongest = max((finding for _, finding in votes), key=lambda finding: finding.score)
        says = "; ".join(f"{name}: {finding.msg}" for name, finding in votes)
        is_flapping = change.state == "flapping"
        flapping = f"flapping, fired {change.fired} times; " if is_flapping else ""
        self._began = strongest.score
        return strongest._replace(
            since=min(strongest.since, change.since),
            msg=f"{flapping}{says if len(self._names) > 1 else strongest.msg}",
            votes=votes,
            flapping=is_flapping,
        )

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data; nothing of a hysteresis that has never been needed."""
        state: dict[str, Any] = {name: machine.snapshot() for name, machine in self.voters}
        if self._hysteresis is None:
            return {"voters": state}
        said = {name: tuple(finding) for name, finding in (self._said or {}).items()}
        return {"voters": state, "hysteresis": self._hysteresis.snapshot(), "said": said}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; a voter that policy has dropped no longer has a say."""
        for name, machine in self.voters:
            if name in state["voters"]:
                machine.restore(state["voters"][name])
        self._began = 0.0
        self._hysteresis = self._said = None
        if "hysteresis" in state:
            self._hysteresis = self._steady()
            self._hysteresis.restore(state["hysteresis"])
            self._said = {name: Finding(*said) for name, said in state["said"].items() if name in self._names}


@lru_cache(maxsize=256)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One object for all series with the same voters."""
    return names
