"""The five questions about an anomaly's surroundings: one query each, however many anomalies ask.

Every query is as of each anomaly's own time (ts), reads by primary key (ship first), and takes its
values as bound parameters. Answers are the fields of ContextData that they fill.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from operators.clickhouse import Reader
from operators.enrich import sql
from operators.enrich.asks import (
    Ask,
    Asker,
    Key,
    floor,
    incident_key,
    metric_key,
    parameters,
    ship_key,
    similar_key,
    thing,
)

Answer = Mapping[Any, Any]
Row = Mapping[str, Any]

MAX_OUTCOME: Final = 200
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S


@dataclass(frozen=True)
class Question:
    """One kind of question: whom it is about (None: does not apply), its SQL, and how rows become an answer.

    parts: of how many parts its key is. answer takes the rows of one thing (all rows where the ship
    is what is asked about). fields gives what the answer says about one anomaly. grain_s: the answer is
    the same throughout each such span of time, so all within share one; None: each is answered as of its own.
    """

    name: str
    says: str
    parts: int
    key: Callable[[Asker], Key | None]
    sql: str
    answer: Callable[[Sequence[Row]], Answer]
    fields: Callable[[Answer, Asker], Mapping[str, Any]] = lambda answer, asker: answer
    grain_s: int | None = None

    def of(self, asker: Asker) -> Ask | None:
        """What an anomaly asks; None where the question does not apply."""
        key = self.key(asker)
        if key is None:
            return None
        return Ask(key, asker.anomaly.ts if self.grain_s is None else floor(asker.anomaly.ts, self.grain_s))

    def ask(self, reader: Reader, asks: Sequence[Ask]) -> list[Answer]:
        """The answers to asks about different things of one ship, in their order, by one query.

        Raises:
            ClickHouseError: as Reader.query does.
        """
        rows: dict[str, list[Row]] = {}
        for row in reader.query(self.sql, parameters(asks)):
            rows.setdefault(row.get("thing", ""), []).append(row)
        return [self.answer(rows.get(thing(ask), ())) for ask in asks]

    def probe(self, reader: Reader) -> None:
        """Ask about nothing; raises as ask does."""
        self.ask(reader, [Ask(("",) * self.parts, datetime.fromtimestamp(0, UTC))])


def _similar(rows: Sequence[Row]) -> Answer:
    row: Row = rows[0] if rows else {"hour": 0, "day": 0, "week": 0}
    return {"similar_1h": row["hour"], "similar_24h": row["day"], "similar_7d": row["week"]}


def _quantiles(rows: Sequence[Row]) -> Answer:
    """By series, of the whole device: what breaks shows in several of its metrics."""
    return {row["series"]: row["quantiles"] for row in rows}


def _quantiles_of(answer: Answer, asker: Asker) -> Mapping[str, Any]:
    p50, p95 = answer.get(asker.anomaly.series, (None, None))
    return {"metric_p50": p50, "metric_p95": p95}


def _ranks(rows: Sequence[Row]) -> Answer:
    """By origin; those that logged as many share a rank."""
    ranks: dict[tuple[str, str], int] = {}
    last = rank = 0
    for place, row in enumerate(rows, start=1):
        if row["logged"] != last:
            last, rank = row["logged"], place
        ranks[row["device_id"], row["service"]] = rank
    return ranks


def _rank_of(answer: Answer, asker: Asker) -> Mapping[str, Any]:
    return {"error_rank": answer.get((asker.anomaly.device_id, asker.anomaly.service))}


def _incident(rows: Sequence[Row]) -> Answer:
    if not rows:
        return {}
    row = rows[0]
    how = f"{row['how']} after {_span(row['ended'], row['opened'])}"
    if row["merged"]:
        how = f"merged into {row['merged']}"
    elif row["who"]:
        how = f"{how} by {row['who']}: {row['why']}"
    return {"last_incident_id": row["id"], "last_incident_outcome": how[:MAX_OUTCOME]}


def _span(ended_at: datetime, opened_at: datetime) -> str:
    """How long, in the unit a person would use.

    >>> from datetime import timedelta
    >>> [_span(datetime(2026, 1, 1) + timedelta(seconds=s), datetime(2026, 1, 1)) for s in (40, 720, 9000)]
    ['40 s', '12 min', '2.5 h']
    """
    seconds = (ended_at - opened_at).total_seconds()
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE_S:.0f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:.1f} h"


def _devices(rows: Sequence[Row]) -> Answer:
    """By device, of the whole ship: an inventory is small, and most of it is asked about sooner or later."""
    names = ("device_type", "vendor", "model", "location", "criticality")
    return {row["device_id"]: {name: row[name] or None for name in names} for row in rows}


def _device_of(answer: Answer, asker: Asker) -> Mapping[str, Any]:
    device: Mapping[str, Any] = answer.get(asker.anomaly.device_id, {})
    return device


DEVICE: Final = Question("device", "what the device is", 1, ship_key, sql.DEVICES, _devices, _device_of, DAY_S)

QUESTIONS: Final = (
    DEVICE,
    Question("similar", "similar anomalies", 2, similar_key, sql.SIMILAR, _similar),
    Question(
        "quantiles", "the metric's p50 and p95", 2, metric_key, sql.QUANTILES, _quantiles, _quantiles_of, grain_s=DAY_S
    ),
    Question("errors", "the rank among today's errors", 1, ship_key, sql.ERRORS, _ranks, _rank_of, HOUR_S),
    Question("incident", "the last incident", 3, incident_key, sql.INCIDENTS, _incident),
)
"""What the device is comes first: the severity and the kind of incident need it."""
