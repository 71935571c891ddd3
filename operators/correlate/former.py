"""former: which incident a correlation key led to last, for one that comes after it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from operators.deadlines import Deadlines

FORMER: Final = "former|"
REMEMBERED: Final = timedelta(days=7)


class FormerIncidents:
    """Remembers the ids of resolved incidents that can be reopened no more, by their correlation keys.

    State: at most max_keys keys, each for seven days (log time) from the end of its incident; beyond that the
    earliest gives way and is counted as former_cap.
    """

    def __init__(self, max_keys: int, deadlines: Deadlines[str], counts: Counter[str]) -> None:
        self._max_keys = max_keys
        self._deadlines = deadlines
        self._counts = counts
        self._by_key: dict[str, tuple[str, datetime]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, key: str) -> str | None:
        """The last incident of a key, None when there was none lately."""
        known = self._by_key.get(key)
        return known[0] if known is not None else None

    def remember(self, incident_id: str, keys: Iterable[str], ended_at: datetime) -> None:
        """An incident that these keys led to is forgotten but for its id."""
        for key in sorted(keys):
            self._by_key.pop(key, None)
            self._by_key[key] = incident_id, ended_at + REMEMBERED
            if len(self._by_key) > self._max_keys:
                del self._by_key[next(iter(self._by_key))]
                self._counts["former_cap"] += 1
        self._set_deadline()

    def serve(self, due: datetime) -> None:
        """Forget those whose time has passed."""
        while self._by_key and (first := next(iter(self._by_key.items())))[1][1] <= due:
            del self._by_key[first[0]]
        self._set_deadline()

    def _set_deadline(self) -> None:
        first = next(iter(self._by_key.values()), None)
        self._deadlines.set(FORMER, first[1] if first is not None else None)

    def snapshot(self) -> list[tuple[str, str, datetime]]:
        """The state as plain data, the earliest first."""
        return [(key, incident_id, until) for key, (incident_id, until) in self._by_key.items()]

    def restore(self, state: Iterable[Any]) -> None:
        """Take over a snapshot."""
        self._by_key = {key: (incident_id, until) for key, incident_id, until in state}
        self._set_deadline()
