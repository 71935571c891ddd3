"""inhibition: an incident that a firing cause upstream explains is the cause's impact."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from operators.correlate.board import IncidentBoard
from operators.correlate.bounds import REASON_BYTES, cut, short
from operators.correlate.incident_state import IncidentState, Mute
from operators.correlate.topology import Topology
from policy.correlate import InhibitPolicy
from schemas.incident import Impact

_Paths = list[tuple[str, ...]]

MAX_PATHS: Final = 3
MAX_STEPS_SHOWN: Final = 5
"""Devices of a path that is told whole."""


class Cause(NamedTuple):
    """An incident that explains another, and how one device leads to the other."""

    state: IncidentState
    because: str


class Inhibition:
    """Finds causes of symptoms, and symptoms of causes, along the device topology.

    A cause explains while it fires: a metric until it clears, log lines for lag_s after each. Every
    device of the symptom must be the cause's or depend on it, and what it opens on must not have begun
    more than lead_s before what the cause opened on (what is held back already may pass to a later
    one). Of several causes the nearest explains; it may be a symptom itself, so that a chain leads to the
    one that people are told of. Keeps no state of its own.
    """

    def __init__(self, policy: InhibitPolicy, board: IncidentBoard, topology: Topology) -> None:
        self._policy = policy
        self._board = board
        self._topology = topology
        self._lag = timedelta(seconds=policy.lag_s)
        self._lead = timedelta(seconds=policy.lead_s)
        self._look_back = timedelta(seconds=policy.look_back_s)
        self._causes = {name for rule in policy.rules for name in rule.cause}
        self._symptoms = {name for rule in policy.rules for name in rule.symptom}

    def cause_of(self, symptom: IncidentState, now: datetime) -> Cause | None:
        """The nearest firing cause of an incident; None when nothing explains it."""
        if symptom.incident.incident_type not in self._symptoms:
            return None
        for cause, paths in self._candidates(symptom):
            if self._explains(cause, symptom, now):
                return Cause(cause, _because(paths))
        return None

    def symptoms_of(self, cause: IncidentState, now: datetime) -> Iterator[tuple[IncidentState, str]]:
        """The visible incidents that a cause explains and that opened at most look_back_s before it (re)opened."""
        if cause.incident.incident_type not in self._causes:
            return
        earliest = min(cause.since, now) - self._look_back
        devices = {down for device in cause.devices for down in (device, *self._topology.downstream(device))}
        found = {state.id: state for device in devices for state in self._board.on_device(device)}
        for _, state in sorted(found.items()):
            if state.incident.status != "open" or state.incident.opened_at < earliest:
                continue
            because = self.because(cause, state) if self._explains(cause, state, now) else None
            if because is not None:
                yield state, because

    def still_explains(self, cause_id: str, symptom: IncidentState) -> bool:
        """Whether a cause is active, and every device of its symptom is still the cause's or depends on it."""
        cause = self._board.get(cause_id)
        return cause is not None and cause.active and self._paths(cause, symptom) is not None

    def mute(self, cause: Cause) -> Mute:
        """Why the symptom is not told."""
        title = cause.state.incident.title
        reason = cut(f"explained by {title} ({cause.state.id}): {cause.because}", REASON_BYTES)
        return Mute("inhibited", cause.state.id, None, reason)

    def because(self, cause: IncidentState, symptom: IncidentState) -> str | None:
        """How each device of the symptom leads to the cause, in words; None when one does not."""
        paths = self._paths(cause, symptom)
        return None if paths is None else _because(paths)

    def _candidates(self, symptom: IncidentState) -> list[tuple[IncidentState, _Paths]]:
        """What might be the cause: the nearest first, then what people are told of, then the earliest."""
        first = min(symptom.devices)
        found: dict[str, IncidentState] = {}
        for device in (first, *self._topology.upstream(first)):
            for state in self._board.on_device(device):
                if state.incident.incident_type in self._causes:
                    found[state.id] = state
        reached = [(state, paths) for state in found.values() if (paths := self._paths(state, symptom)) is not None]
        return sorted(reached, key=_nearness)

    def _explains(self, cause: IncidentState, symptom: IncidentState, now: datetime) -> bool:
        mine, its = cause.incident.incident_type, symptom.incident.incident_type
        if cause is symptom or not any(mine in rule.cause and its in rule.symptom for rule in self._policy.rules):
            return False
        is_told = symptom.incident.status != "suppressed"
        if is_told and symptom.began < cause.began - self._lead:
            return False
        return self._fires(cause, now) and not self.rests_on(cause, symptom)

    def _fires(self, cause: IncidentState, now: datetime) -> bool:
        return any("/log:" not in source or now - at <= self._lag for source, at in cause.firing.items())

    def rests_on(self, state: IncidentState, other: IncidentState) -> bool:
        """Whether state is itself explained, however far up, by the other: nothing explains its own cause."""
        seen: set[str] = set()
        waiting = [state]
        while waiting:
            for mute in waiting.pop().mutes.values():
                above = self._board.get(mute.by) if mute.kind == "inhibited" and mute.by not in seen else None
                if above is other:
                    return True
                if above is not None:
                    seen.add(mute.by)
                    waiting.append(above)
        return False

    def _paths(self, cause: IncidentState, symptom: IncidentState) -> _Paths | None:
        """The shortest path from each device of the symptom that is not the cause's own; None when one has none."""
        found: list[tuple[str, ...]] = []
        for device in sorted(symptom.devices - cause.devices):
            upstream = self._topology.upstream(device)
            paths = [upstream[each] for each in sorted(cause.devices) if each in upstream]
            if not paths:
                return None
            found.append(min(paths, key=len))
        return found


def _nearness(candidate: tuple[IncidentState, _Paths]) -> tuple[int, bool, datetime, str]:
    """Steps over all devices of the symptom; where these are as many, the order among causes."""
    state, paths = candidate
    return sum(len(path) - 1 for path in paths), not state.visible, state.incident.opened_at, state.id


def _because(paths: _Paths) -> str:
    """How each device leads to the cause, in words: the first three, and how many more there are.

    >>> _because([(name, "vsat-1") for name in ("a", "b", "c", "d", "e")])
    'a depends on vsat-1; b depends on vsat-1; c depends on vsat-1; and 2 more'
    """
    more = [f"and {len(paths) - MAX_PATHS} more"] if len(paths) > MAX_PATHS else []
    return "; ".join([*map(_path, paths[:MAX_PATHS]), *more]) or "the same device"


def _path(devices: tuple[str, ...]) -> str:
    """A path of dependencies in words; of a long one its ends.

    >>> _path(("mail", "rtr-1", "vsat-1"))
    'mail depends on rtr-1, which depends on vsat-1'
    >>> _path(tuple("abcdefg"))
    'a depends on b, … (3 between), f, which depends on g'
    """
    first, second, *others = map(short, devices)
    if len(devices) <= MAX_STEPS_SHOWN:
        return f"{first} depends on {', which depends on '.join([second, *others])}"
    return f"{first} depends on {second}, … ({len(devices) - 4} between), {others[-2]}, which depends on {others[-1]}"


def impacts(symptom: IncidentState, because: str) -> list[Impact]:
    """What the cause must list: each place that the symptom touches."""
    reason = cut(f"{symptom.incident.title} ({symptom.id}): {because}", REASON_BYTES)
    return [Impact(device_id=each.device_id, service=each.service, reason=reason) for each in symptom.incident.scope]
