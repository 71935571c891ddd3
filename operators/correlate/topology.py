"""topology: which device depends on which, on one ship."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from schemas.base import Severity
from schemas.ops import Device

MAX_DEVICES: Final = 10_000
MAX_DEPENDS_ON: Final = 256
MAX_TYPE: Final = 256
MAX_DEPTH: Final = 64
"""Steps that a path may have: what is further away neither explains nor suffers."""
CACHED: Final = 200_000
"""Devices in all cached answers together; beyond it they are worked out again."""
SNAPSHOT_VERSION: Final = 1

Applied = Literal["changed", "unchanged", "refused"]


class KnownDevice(NamedTuple):
    """What correlation needs of an entry of the inventory."""

    device_id: str
    device_type: str
    criticality: Severity
    depends_on: tuple[str, ...]


class Reach(Mapping[str, tuple[str, ...]]):
    """Devices that are reached from one, the nearest first; each with its path.

    A path begins with the device that depends and ends with what it depends on: upstream of app-01,
    ["vsat-1"] is ("app-01", "core-switch", "vsat-1"). It is the shortest, of several the first by name.
    """

    def __init__(self, start: str, before: dict[str, str], *, from_start: bool) -> None:
        self._start = start
        self._before = before
        self._from_start = from_start

    def __getitem__(self, device_id: str) -> tuple[str, ...]:
        path = [device_id]
        at = self._before[device_id]
        while at != self._start:
            path.append(at)
            at = self._before[at]
        path.append(self._start)
        return tuple(reversed(path)) if self._from_start else tuple(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._before)

    def __len__(self) -> int:
        return len(self._before)

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._before


class Topology:
    """The inventory of one ship, and who depends on whom, directly or through others.

    A device may depend on one that is not in the inventory (yet); devices that depend on each other
    are each upstream of the other, none of itself. The same inventory gives the same answers in
    whatever order it came. State: max_devices entries of at most 256 dependencies each (what is beyond
    is refused), kept until the inventory says `removed`. Answers reach 64 steps, and are kept until a
    dependency changes. counts: what was refused, and searches that ended at 64 steps (depth_cap), by reason.
    """

    def __init__(self, max_devices: int = MAX_DEVICES) -> None:
        self._max_devices = max_devices
        self._devices: dict[str, KnownDevice] = {}
        self._dependents: dict[str, list[str]] = {}
        self._cache: dict[tuple[bool, str], Reach] = {}
        self._cached = 0
        self._saved: dict[str, Any] | None = None
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._devices)

    def device(self, device_id: str) -> KnownDevice | None:
        """The device's entry; None when the inventory does not have it."""
        return self._devices.get(device_id)

    def apply(self, entry: Device) -> Applied:
        """Take one entry of the inventory; the last word on a device wins."""
        old = self._devices.get(entry.device_id)
        if entry.removed:
            if old is None:
                return "unchanged"
            self._put(old, None)
            return "changed"
        if len(entry.depends_on) > MAX_DEPENDS_ON or len(entry.device_type) > MAX_TYPE:
            return self._refuse("device_too_big")
        if old is None and len(self._devices) >= self._max_devices:
            return self._refuse("device_cap")
        depends_on = tuple(sorted(set(entry.depends_on) - {entry.device_id}))
        new = KnownDevice(entry.device_id, entry.device_type, Severity(entry.criticality), depends_on)
        if new == old:
            return "unchanged"
        self._put(old, new)
        return "changed"

    def upstream(self, device_id: str) -> Reach:
        """Everything that the device depends on, the nearest first, with the path to it.

        >>> ship = Topology()
        >>> for name, on in (("app-01", "core-switch"), ("core-switch", "vsat-1")):
        ...     _ = ship.apply(Device(ship_id="aurora", device_id=name, depends_on=(on,)))
        >>> dict(ship.upstream("app-01"))
        {'core-switch': ('app-01', 'core-switch'), 'vsat-1': ('app-01', 'core-switch', 'vsat-1')}
        """
        return self._reach(device_id, self._depends_on, from_start=True)

    def downstream(self, device_id: str) -> Reach:
        """Everything that depends on the device, the nearest first, with the path from it."""
        return self._reach(device_id, lambda at: self._dependents.get(at, ()), from_start=False)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data, to be pickled and not changed; some 100 bytes a device."""
        if self._saved is None:
            devices = {each.device_id: (each.device_type, each.criticality.value, each.depends_on) for each in self}
            self._saved = {"v": SNAPSHOT_VERSION, "devices": devices}
        return self._saved

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then answers as if it had never stopped.

        Raises:
            ValueError: for a snapshot of another version.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"topology: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        for device_id, (device_type, criticality, depends_on) in state["devices"].items():
            known = KnownDevice(device_id, device_type, Severity(criticality), tuple(depends_on))
            self._put(self._devices.get(device_id), known)

    def __iter__(self) -> Iterator[KnownDevice]:
        """Every entry, by device_id."""
        return iter([self._devices[device_id] for device_id in sorted(self._devices)])

    def _depends_on(self, device_id: str) -> Sequence[str]:
        known = self._devices.get(device_id)
        return known.depends_on if known is not None else ()

    def _refuse(self, reason: str) -> Applied:
        self.counts[reason] += 1
        return "refused"

    def _put(self, old: KnownDevice | None, new: KnownDevice | None) -> None:
        before = old.depends_on if old is not None else ()
        after = new.depends_on if new is not None else ()
        known = old or new
        assert known is not None
        self._saved = None
        if new is None:
            del self._devices[known.device_id]
        else:
            self._devices[known.device_id] = new
        if before == after:
            return
        self._cache.clear()
        self._cached = 0
        for each in set(before) - set(after):
            self._dependents[each].remove(known.device_id)
            if not self._dependents[each]:
                del self._dependents[each]
        for each in set(after) - set(before):
            insort(self._dependents.setdefault(each, []), known.device_id)

    def _reach(self, start: str, neighbours: Callable[[str], Sequence[str]], *, from_start: bool) -> Reach:
        key = (from_start, start)
        found = self._cache.get(key)
        if found is None:
            before, is_cut = _breadth_first(start, neighbours)
            if is_cut:
                self.counts["depth_cap"] += 1
            found = Reach(start, before, from_start=from_start)
            if self._cached + len(found) > CACHED:
                self._cache.clear()
                self._cached = 0
            self._cache[key] = found
            self._cached += len(found) + 1
        return found


def _breadth_first(start: str, neighbours: Callable[[str], Sequence[str]]) -> tuple[dict[str, str], bool]:
    """What is reached from start in at most MAX_DEPTH steps, the nearest first, and from where; whether there is more.

    Neighbours come in order of name.
    """
    before: dict[str, str] = {}
    layer = [start]
    for _ in range(MAX_DEPTH):
        if not layer:
            return before, False
        following: list[str] = []
        for at in layer:
            for each in neighbours(at):
                if each != start and each not in before:
                    before[each] = at
                    following.append(each)
        layer = following
    return before, any(each != start and each not in before for at in layer for each in neighbours(at))
