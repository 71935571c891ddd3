"""The incidents of one ship, found by correlation key, id, link or device."""

from collections.abc import Iterator

from operators.correlate.classify import Situation
from operators.correlate.incident_state import IncidentState


class IncidentBoard:
    """Keeps incidents and their indexes together, so that nothing is found by search.

    An incident is under every correlation key that leads to it (several after a merge). Links and
    devices find active incidents only. State: that of its incidents; the indexes are derived.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, IncidentState] = {}
        self._by_key: dict[str, str] = {}
        self._by_link: dict[str, set[str]] = {}
        self._on_device: dict[str, set[str]] = {}
        self._indexed: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[IncidentState]:
        """Every incident, by id."""
        return iter([self._by_id[incident_id] for incident_id in sorted(self._by_id)])

    @property
    def active_count(self) -> int:
        """How many incidents are not resolved."""
        return len(self._indexed)

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

    def _in_order(self, ids: "set[str] | tuple[()]") -> list[IncidentState]:
        return sorted((self._by_id[each] for each in ids), key=lambda state: (state.incident.opened_at, state.id))

    def put(self, state: IncidentState) -> None:
        """Take an incident in, or note what has changed in it."""
        self._by_id[state.id] = state
        for key in state.keys:
            self._by_key[key] = state.id
        self._unindex(state.id)
        if state.active:
            links, devices = frozenset(state.links), frozenset(state.devices)
            self._indexed[state.id] = (links, devices)
            for link in links:
                self._by_link.setdefault(link, set()).add(state.id)
            for device in devices:
                self._on_device.setdefault(device, set()).add(state.id)

    def drop(self, state: IncidentState) -> None:
        """Forget an incident."""
        self._unindex(state.id)
        self._by_id.pop(state.id, None)
        for key in state.keys:
            if self._by_key.get(key) == state.id:
                del self._by_key[key]

    def _unindex(self, incident_id: str) -> None:
        links, devices = self._indexed.pop(incident_id, (frozenset(), frozenset()))
        for index, names in ((self._by_link, links), (self._on_device, devices)):
            for name in names:
                index[name].discard(incident_id)
                if not index[name]:
                    del index[name]
