"""What is asked about an anomaly: keys, and the times as of which."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from schemas.anomaly import AnomalyDetected, ContextData

Key = tuple[str, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Ask(NamedTuple):
    """A question about one thing, answered as of a time (event time)."""

    key: Key
    at: datetime


class Asker(NamedTuple):
    """An anomaly with the incident type that it speaks of, where that is known."""

    anomaly: AnomalyDetected
    incident_type: str | None


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


def series_key(asker: Asker) -> Key | None:
    """The ship and the series of a metric; None for what is not about a metric."""
    anomaly = asker.anomaly
    return (anomaly.ship_id, anomaly.series) if anomaly.metric_name else None


def ship_key(asker: Asker) -> Key:
    """The ship."""
    return (asker.anomaly.ship_id,)


def device_key(asker: Asker) -> Key:
    """The ship and the device."""
    return asker.anomaly.ship_id, asker.anomaly.device_id


def incident_key(asker: Asker) -> Key | None:
    """The ship, the device and the incident type; None where that is not known."""
    anomaly, incident_type = asker
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


def groups(asks: Iterable[Ask], span_s: int | None = None) -> list[list[Ask]]:
    """Asks in groups for one query each: one ship, and no thing twice (as of another time).

    span_s: the times of a group lie in one span of so many seconds since 1970; None for any times.
    """
    found: dict[tuple[str, int, int | None], list[Ask]] = {}
    seen: dict[Key, int] = {}
    for ask in asks:
        layer = seen[ask.key] = seen.get(ask.key, -1) + 1
        span = None if span_s is None else _micros(ask.at) // (span_s * 1_000_000)
        found.setdefault((ask.key[0], layer, span), []).append(ask)
    return list(found.values())


def _micros(at: datetime) -> int:
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
