"""The incidents of one ship, found by correlation key, id, link, device, what fires in them or holds them back."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from operators.correlate.classify import Situation
from operators.correlate.incident_state import IncidentState

_Index = dict[str, set[str]]
_NOTHING: frozenset[str] = frozenset()


class _Filed(NamedTuple):
    """Under what an incident is found."""

    links: frozenset[str] = _NOTHING
    devices: frozenset[str] = _NOTHING
    sources: frozenset[str] = _NOTHING
    reasons: frozenset[str] = _NOTHING


class IncidentBoard:
    """Keeps incidents and their indexes together, so that nothing is found by search.

    An incident is under every correlation key that leads to it (several after a merge), and a key
    leads to one incident: the last that took it. Links and devices find active incidents only.
    State: that of its incidents; the indexes are derived.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, IncidentState] = {}
        self._by_key: dict[str, str] = {}
        self._by_link: _Index = {}
        self._on_device: _Index = {}
        self._by_source: _Index = {}
        self._held_by: _Index = {}
        self._filed: dict[str, _Filed] = {}
        self._active: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[IncidentState]:
        """Every incident, by id."""
        return iter([self._by_id[incident_id] for incident_id in sorted(self._by_id)])

    @property
    def active_count(self) -> int:
        """How many incidents are not resolved."""
        return len(self._active)

    def get(self, incident_id: str) -> IncidentState | None:
        """The incident of that id."""
        return self._by_id.get(incident_id)

    def of_key(self, key: str) -> IncidentState | None:
        """The incident, active or resolved, that a correlation key leads to."""
        return self._by_id.get(self._by_key.get(key, ""))

    def active_for(self, situation: Situation) -> list[IncidentState]:
        """The active incidents that a situation's key and links lead to, the earliest first."""
        found = {incident_id for link in situation.links for incident_id in self._by_link.get(link, ())}
        own = self.of_key(situation.key)
        if own is not None and own.active:
            found.add(own.id)
        return self._in_order(found)

    def on_device(self, device_id: str) -> list[IncidentState]:
        """The active incidents that touch a device, the earliest first."""
        return self._in_order(self._on_device.get(device_id, ()))

    def fired_by(self, source: str) -> list[IncidentState]:
        """The incidents, active or resolved, in which this source has fired and not cleared."""
        return self._in_order(self._by_source.get(source, ()))

    def held_by(self, reason: str) -> list[IncidentState]:
        """The incidents that another incident or a silence holds back, the earliest first."""
        return self._in_order(self._held_by.get(reason, ()))

    def _in_order(self, ids: Iterable[str]) -> list[IncidentState]:
        return sorted((self._by_id[each] for each in ids), key=lambda state: (state.incident.opened_at, state.id))

    def put(self, state: IncidentState) -> None:
        """Take an incident in, or note what has changed in it; its keys lead to no other any more."""
        self._by_id[state.id] = state
        for key in state.keys:
            before = self.of_key(key)
            if before is not None and before is not state:
                before.keys.discard(key)
            self._by_key[key] = state.id
        sources, reasons = frozenset(state.firing), frozenset(mute.by for mute in state.mutes.values())
        if state.active:
            self._active.add(state.id)
            filed = _Filed(frozenset(state.links), frozenset(state.devices), sources, reasons)
        else:
            self._active.discard(state.id)
            filed = _Filed(sources=sources)
        self._file(state.id, filed)

    def drop(self, state: IncidentState) -> None:
        """Forget an incident."""
        self._file(state.id, _Filed())
        del self._filed[state.id]
        del self._by_id[state.id]
        self._active.discard(state.id)
        for key in state.keys:
            if self._by_key.get(key) == state.id:
                del self._by_key[key]

    def _file(self, incident_id: str, filed: _Filed) -> None:
        before = self._filed.get(incident_id, _Filed())
        self._filed[incident_id] = filed
        indexes = (self._by_link, self._on_device, self._by_source, self._held_by)
        for index, old, new in zip(indexes, before, filed, strict=True):
            for name in old - new:
                index[name].discard(incident_id)
                if not index[name]:
                    del index[name]
            for name in new - old:
                index.setdefault(name, set()).add(incident_id)
