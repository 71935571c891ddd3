"""silence: the silence of many series told once, as that of their device, or of the whole ship."""

from typing import Any, Literal, NamedTuple

from operators.detect.finding import clock_time

Scope = Literal["series", "device", "ship"]
Place = tuple[Scope, str, str]  # scope, device, series; empty where it does not apply
SHIP: Place = ("ship", "", "")
VERSION = 2


class SilenceFinding(NamedTuple):
    """Something fell silent, or is heard again.

    since: the last sign of life, in seconds since 1970; silent of watched: series that it speaks for.
    """

    scope: Scope
    device: str
    series: str
    state: Literal["firing", "cleared"]
    since: float
    silent: int
    watched: int
    msg: str


class _Device:
    __slots__ = ("silent", "watched")

    def __init__(self, watched: int = 0, silent: dict[str, float] | None = None) -> None:
        self.watched = watched
        self.silent: dict[str, float] = silent if silent is not None else {}


class Silence:
    """Groups the silent series of one ship.

    A device is silent when at least `quorum` of its series are; the ship is when at least
    `ship_quorum` of its devices (and two) are. So neither waits for a series that reports once a day.
    After a change it waits settle_s, so that what falls silent together is told together; what is
    heard again is told at once. Each silence is told at its widest scope only: when a device's
    silence becomes part of the ship's, the device's finding clears. Time is log time. A series is
    watched from when its rhythm is known until it is forgotten, which its owner says once each;
    silent() and heard() take what its Stale says, so samples cost nothing here. State: one number a
    device, and one a silent series; cost: one pass over the ship's devices when something settles.
    Source: alert grouping and inhibition as in Alertmanager, along ship, device and series.

    >>> board = Silence(settle_s=30)
    >>> for name in ("a", "b"):
    ...     board.watch("modem")
    ...     board.watch("router")
    >>> board.silent("modem", "a", at=100, since=40)
    >>> board.silent("modem", "b", at=110, since=41)
    >>> [(found.scope, found.device, found.silent) for found in board.due(130)]
    [('device', 'modem', 2)]
    """

    def __init__(self, *, settle_s: float = 30.0, quorum: float = 0.5, ship_quorum: float = 0.8) -> None:
        self._settle_s = settle_s
        self._quorum = quorum
        self._ship_quorum = ship_quorum
        self._devices: dict[str, _Device] = {}
        self._told: dict[Place, float] = {}
        self.deadline: float | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is watched, and nothing told."""
        return not self._devices and not self._told

    def watch(self, device: str) -> None:
        """From now on the device has one more series."""
        self._devices.setdefault(device, _Device()).watched += 1

    def forget(self, device: str, series: str, at: float) -> list[SilenceFinding]:
        """A series is watched no longer; what was told and rests on it is cleared."""
        known = self._devices.get(device)
        if known is None:
            return []
        known.watched -= 1
        known.silent.pop(series, None)
        if known.watched <= 0:
            del self._devices[device]
        return self._ended(device, series, at, "no longer watched")

    def silent(self, device: str, series: str, at: float, since: float) -> None:
        """The series is overdue (its Stale fired at `at`), last seen at `since`; told when things have settled."""
        known = self._devices.get(device)
        if known is not None:
            known.silent[series] = since
            self._settle(at)

    def heard(self, device: str, series: str, at: float) -> list[SilenceFinding]:
        """The series is heard again (its Stale cleared); clears what that disproves."""
        known = self._devices.get(device)
        if known is None or known.silent.pop(series, None) is None:
            return []
        return self._ended(device, series, at, "heard again")

    def _ended(self, device: str, series: str, at: float, why: str) -> list[SilenceFinding]:
        gone: list[Place] = [SHIP] if SHIP in self._told and self._ship_since() is None else []
        if ("device", device, "") in self._told and self._since(device) is None:
            gone.append(("device", device, ""))
        if ("series", device, series) in self._told:
            gone.append(("series", device, series))
        if gone:
            self._settle(at)
        return [self._clear(place, why) for place in gone]

    def due(self, at: float) -> list[SilenceFinding]:
        """Log time has reached this: tell what has settled; what fires comes before what it replaces."""
        if self.deadline is not None and self.deadline - at > self._settle_s:
            self.deadline = at + self._settle_s  # the clock was set back
        if self.deadline is None or not at >= self.deadline:
            return []
        self.deadline = None
        wanted = self._wanted()
        fired = [self._fire(place, since) for place, since in wanted.items() if place not in self._told]
        gone = sorted(place for place in self._told if place not in wanted)
        return [*fired, *(self._clear(place, "told in another scope from here on") for place in gone)]

    def _settle(self, at: float) -> None:
        if self.deadline is None:
            self.deadline = at + self._settle_s

    def _since(self, device: str) -> float | None:
        """Last sign of life of a silent device; None when it is not silent."""
        known = self._devices.get(device)
        if known is None or not known.silent or len(known.silent) < self._quorum * known.watched:
            return None
        return max(known.silent.values())

    def _ship_since(self) -> float | None:
        silent = [since for name in self._devices if (since := self._since(name)) is not None]
        return max(silent) if len(silent) >= max(2.0, self._ship_quorum * len(self._devices)) else None

    def _wanted(self) -> dict[Place, float]:
        ship = self._ship_since()
        if ship is not None:
            return {SHIP: ship}
        wanted: dict[Place, float] = {}
        for name, known in sorted(self._devices.items()):
            since = self._since(name)
            if since is not None and known.watched > 1:
                wanted["device", name, ""] = since
            else:
                wanted.update({("series", name, series): known.silent[series] for series in sorted(known.silent)})
        return wanted

    def _fire(self, place: Place, since: float) -> SilenceFinding:
        scope, device, series = place
        self._told[place] = since
        silent, watched = self._counts(place)
        what = _what(place)
        if scope == "series":
            msg = f"{what} is silent since {clock_time(since)}"
        else:
            msg = f"{what} is silent: {silent} of {watched} series, none of them since {clock_time(since)}"
        return SilenceFinding(scope, device, series, "firing", since, silent, watched, msg)

    def _clear(self, place: Place, why: str) -> SilenceFinding:
        scope, device, series = place
        since = self._told.pop(place)
        silent, watched = self._counts(place)
        return SilenceFinding(scope, device, series, "cleared", since, silent, watched, f"{_what(place)}: {why}")

    def _counts(self, place: Place) -> tuple[int, int]:
        scope, device, series = place
        if scope == "ship":
            known = self._devices.values()
            return sum(len(each.silent) for each in known), sum(each.watched for each in known)
        of = self._devices.get(device, _Device())
        if scope == "device":
            return len(of.silent), of.watched
        return int(series in of.silent), 1

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        devices = {name: (known.watched, dict(known.silent)) for name, known in self._devices.items()}
        return {"v": VERSION, "devices": devices, "told": dict(self._told), "deadline": self.deadline}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        if state["v"] != VERSION:
            raise ValueError(f"silence: snapshot version {state['v']}, expected {VERSION}; start afresh")
        self._devices = {name: _Device(watched, dict(silent)) for name, (watched, silent) in state["devices"].items()}
        self._told = dict(state["told"])
        self.deadline = state["deadline"]


def _what(place: Place) -> str:
    scope, device, series = place
    return "the ship" if scope == "ship" else f"device {device}" if scope == "device" else series
