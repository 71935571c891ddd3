"""vote: several detectors of one series speak with one voice."""

from typing import Any, NamedTuple

from operators.detect.finding import Finding, MetricDetector
from operators.detect.hysteresis import Change, Hysteresis


class Voter(NamedTuple):
    """One detector and the name under which it votes."""

    name: str
    machine: MetricDetector


class Vote:
    """Fires while any of its detectors does, and says which, each with its own statistic and bound.

    All voters see every sample. Firing and clearing go through Hysteresis: it holds for a while, and a
    series that fires again and again is one finding marked flapping. The score is that of the
    strongest voter, and so are expected value and bounds. State: that of the voters, of the
    hysteresis, and what each firing voter said. Cost: the sum of the voters'.
    """

    def __init__(self, voters: list[Voter], hysteresis: Hysteresis) -> None:
        self.voters = voters
        self._hysteresis = hysteresis
        self._said: dict[str, Finding] = {}

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self._hysteresis.firing

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        for name, machine in self.voters:
            finding = machine.update(at, value)
            if finding is not None and finding.state == "firing":
                self._said[name] = finding
            elif finding is not None:
                self._said.pop(name, None)
        changes = self._hysteresis.update(at, bool(self._said))
        return self._finding(changes[-1], value) if changes else None

    def _finding(self, change: Change, value: float) -> Finding:
        if change.state == "cleared":
            return Finding("cleared", 0.0, None, None, None, change.since, f"{value:.4g} is as expected again")
        strongest = max(self._said.values(), key=lambda finding: finding.score)
        says = "; ".join(f"{name}: {finding.msg}" for name, finding in sorted(self._said.items()))
        flapping = f"flapping, fired {change.fired} times; " if change.state == "flapping" else ""
        return strongest._replace(since=min(strongest.since, change.since), msg=f"{flapping}{says}")

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "firing": self.firing,
            "hysteresis": self._hysteresis.snapshot(),
            "said": {name: tuple(finding) for name, finding in self._said.items()},
            "voters": {name: machine.snapshot() for name, machine in self.voters},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; a voter that policy has dropped no longer has a say."""
        self._hysteresis.restore(state["hysteresis"])
        for name, machine in self.voters:
            if name in state["voters"]:
                machine.restore(state["voters"][name])
        names = {name for name, _ in self.voters}
        self._said = {name: Finding(*said) for name, said in state["said"].items() if name in names}
