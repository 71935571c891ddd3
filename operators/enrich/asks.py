"""What is asked about an anomaly: keys, and the times as of which."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.anomaly import AnomalyDetected, ContextData

Key = tuple[str, ...]

IncidentTypeOf = Callable[[AnomalyDetected, str | None], str | None]
"""The incident type of an anomaly on a device of a type, None where either is not known."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Ask(NamedTuple):
    """A question about one thing, answered as of a time (event time)."""

    key: Key
    at: datetime


class Asker(NamedTuple):
    """An anomaly, how its incident type follows from its device's type (None: not known), and that type."""

    anomaly: AnomalyDetected
    incident_type_of: IncidentTypeOf
    device_type: str | None = None

    @property
    def incident_type(self) -> str | None:
        """Which kind of incident the anomaly speaks of, where that is known."""
        return self.incident_type_of(self.anomaly, self.device_type)


class Found(NamedTuple):
    """What is known about an anomaly's surroundings, and what is missing and why (None: nothing is)."""

    context: ContextData
    missing: str | None


def family(anomaly: AnomalyDetected) -> str:
    """What similar anomalies of a ship share, on whatever device: type and metric with rule, or rule, or series.

    The materialized view similar_mv says the same in SQL.
    """
    if anomaly.metric_name:
        return f"{anomaly.anomaly_type}|{anomaly.metric_name}|{anomaly.rule or ''}"
    return f"{anomaly.anomaly_type}||{anomaly.rule or anomaly.series}"


def similar_key(asker: Asker) -> Key:
    """The ship and the family."""
    return asker.anomaly.ship_id, family(asker.anomaly)


def ship_key(asker: Asker) -> Key:
    """The ship."""
    return (asker.anomaly.ship_id,)


def metric_key(asker: Asker) -> Key | None:
    """The ship and the device of a metric; None for what is not about a metric."""
    anomaly = asker.anomaly
    return (anomaly.ship_id, anomaly.device_id) if anomaly.metric_name else None


def incident_key(asker: Asker) -> Key | None:
    """The ship, the device and the incident type; None where that is not known."""
    anomaly, incident_type = asker.anomaly, asker.incident_type
    return None if incident_type is None else (anomaly.ship_id, anomaly.device_id, incident_type)


def parameters(asks: Sequence[Ask]) -> dict[str, Any]:
    """Asks about one ship, each about another thing, as the parameters of a query.

    A key is the ship, then the parts of the thing; things are joined by line feeds. Times are
    microseconds since 1970.
    """
    ats = [_micros(ask.at) for ask in asks]
    return {
        "ship": asks[0].key[0],
        "things": [thing(ask) for ask in asks],
        "devices": sorted({ask.key[1] for ask in asks if len(ask.key) > 1}),
        "types": sorted({ask.key[-1] for ask in asks}),
        "ats": ats,
        "first": min(ats),
        "last": max(ats),
    }


def thing(ask: Ask) -> str:
    """What is asked about, within its ship, as one text."""
    return "\n".join(ask.key[1:])


def groups(asks: Iterable[Ask], *, of_one_time: bool = False) -> list[list[Ask]]:
    """Asks in groups for one query each: one ship, no thing twice, and all as of one time where that is needed."""
    found: dict[tuple[str, int, datetime | None], list[Ask]] = {}
    seen: dict[Key, int] = {}
    for ask in asks:
        layer = seen[ask.key] = seen.get(ask.key, -1) + 1
        found.setdefault((ask.key[0], layer, ask.at if of_one_time else None), []).append(ask)
    return list(found.values())


def floor(at: datetime, grain_s: int) -> datetime:
    """The beginning of the grain that holds a time, counted from 1970.

    >>> floor(datetime(2026, 1, 1, 7, 45, tzinfo=UTC), 3600).isoformat()
    '2026-01-01T07:00:00+00:00'
    """
    return _EPOCH + (at - _EPOCH) // timedelta(seconds=grain_s) * timedelta(seconds=grain_s)


def _micros(at: datetime) -> int:
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
