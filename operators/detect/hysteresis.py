"""hysteresis: many changes of mind become one steady state; a series that flaps is one anomaly marked so."""

from typing import Any, Literal, NamedTuple

State = Literal["cleared", "firing", "flapping"]
VERSION = 1


class Change(NamedTuple):
    """The state from here on. since: when this anomaly began (seconds since 1970); fired: firings within the window."""

    state: State
    since: float
    fired: int


class Hysteresis:
    """Turns votes (firing or not) into states that last.

    The first vote for firing fires at once. It clears when the vote is against it and min_hold_s
    have passed since it fired. More than flap_count firings within flap_window_s make it flapping:
    said once, then nothing until the vote has been against it for calm_s. Time that goes back counts
    as no time. State: at most flap_count + 5 numbers a series; cost: one comparison while nothing
    changes. Source: flap detection as in Nagios, Prometheus' keep_firing_for.

    >>> steady = Hysteresis(min_hold_s=60)
    >>> [[change.state for change in steady.update(at, vote)]
    ...  for at, vote in [(0, False), (10, True), (20, False), (30, True), (40, False), (70, False)]]
    [[], ['firing'], [], [], [], ['cleared']]
    """

    __slots__ = ("_fell", "_now", "_settings", "_since", "_starts", "_vote", "state")

    def __init__(
        self,
        *,
        min_hold_s: float = 60.0,
        flap_count: int = 5,
        flap_window_s: float = 3600.0,
        calm_s: float = 900.0,
    ) -> None:
        self._settings = (min_hold_s, flap_count, flap_window_s, calm_s)
        self.state: State = "cleared"
        self._vote = False
        self._since = self._fell = 0.0
        self._now = float("-inf")
        self._starts: tuple[float, ...] = ()

    @property
    def firing(self) -> bool:
        """Whether an anomaly is open, flapping or not."""
        return self.state != "cleared"

    @property
    def deadline(self) -> float | None:
        """When it clears if the vote stays against it; None while there is nothing to clear."""
        if self.state == "cleared" or self._vote:
            return None
        min_hold_s, _, _, calm_s = self._settings
        return self._fell + calm_s if self.state == "flapping" else max(self._fell, self._since + min_hold_s)

    def update(self, at: float, vote: bool) -> list[Change]:
        """Take one vote (seconds since 1970); a deadline up to then comes first, so there may be two changes."""
        if at - at != 0.0 or (vote == self._vote and (vote or self.state == "cleared")):
            return []
        overdue = self.due(at)
        changes = [overdue] if overdue else []
        at = self._now
        if vote == self._vote:
            return changes
        self._vote = vote
        if not vote:
            self._fell = at
        change = self._rise(at) if vote else self.due(at)
        return [*changes, change] if change else changes

    def _rise(self, at: float) -> Change | None:
        _, flap_count, window, _ = self._settings
        recent = tuple(start for start in self._starts if start > at - window)
        self._starts = (*recent, at)[-flap_count - 1 :]
        before = self.state
        if before == "cleared":
            self._since = at
        if len(self._starts) > flap_count:
            self.state = "flapping"
        elif before == "cleared":
            self.state = "firing"
        return Change(self.state, self._since, len(self._starts)) if self.state != before else None

    def due(self, at: float) -> Change | None:
        """Time has reached this; clears when the deadline has passed."""
        deadline = self.deadline
        at = self._now = max(at, self._now)
        if deadline is None or at < deadline:
            return None
        self.state = "cleared"
        return Change("cleared", self._since, len(self._starts))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": VERSION,
            "state": self.state,
            "vote": self._vote,
            "times": (self._since, self._fell, self._now),
            "starts": self._starts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        if state["v"] != VERSION:
            raise ValueError(f"hysteresis: snapshot version {state['v']}, expected {VERSION}; start afresh")
        self.state, self._vote, self._starts = state["state"], state["vote"], tuple(state["starts"])
        self._since, self._fell, self._now = state["times"]
