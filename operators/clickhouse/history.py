"""What ClickHouse knows of earlier log lines, for templates and rates that start without state."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

import structlog

from operators.clickhouse.connection import ClickHouseDsn
from operators.clickhouse.errors import ClickHouseError, QueryTooBigError
from operators.clickhouse.reader import Reader
from operators.detect.log_history import CountedLines, KnownForm, LogHistory, ShipHistory

QUERY_S: Final = 2.0
WAIT_S: Final = 6.0
"""A start waits so long for history, then goes on without."""

FORMS_SPANS: Final = (timedelta(days=7), timedelta(days=1), timedelta(hours=1))
"""Masked forms are asked for over the first span that is answered in QUERY_S."""

COUNTS_SPAN: Final = timedelta(hours=6)
MAX_FORMS: Final = 10_000
MAX_SHIPS: Final = 5
MAX_SERIES: Final = 20_000
MAX_COUNTS: Final = 300_000
"""Counts by window taught at most, about two seconds of the flow's thread; more are of the newest hours only."""

FORMS: Final = """
SELECT ship_id, template, substringUTF8(any(msg), 1, 1024) AS example, count() AS lines, min(observed_at) AS first
FROM logs
WHERE observed_at >= {since:DateTime64(6, 'UTC')} AND template != ''
GROUP BY ship_id, template
ORDER BY lines DESC, ship_id, template
LIMIT {most:UInt32} BY ship_id
LIMIT {all:UInt32}
"""

COUNTS: Final = """
SELECT device_id, service, level, template, groupArray(window) AS windows, groupArray(n) AS counts
FROM (
    SELECT device_id, service, level, template,
           intDiv(toUnixTimestamp64Micro(least(ts, observed_at)), {window_us:Int64}) AS window, count() AS n
    FROM logs
    WHERE ship_id = {ship:String} AND observed_at >= {since:DateTime64(6, 'UTC')}
          AND ts >= {since:DateTime64(6, 'UTC')}
    GROUP BY device_id, service, level, template, window
)
GROUP BY device_id, service, level, template
ORDER BY sum(n) DESC, device_id, service, level, template
LIMIT {most:UInt32}
"""

log = structlog.get_logger()


class _Reader(Protocol):
    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]: ...


def log_history(
    dsn: str,
    database: str,
    *,
    now: datetime,
    window_s: Callable[[str], int],
    shares_chdb: bool = False,
    wait_s: float = WAIT_S,
) -> LogHistory | None:
    """The log lines before now, by ship; None when ClickHouse cannot tell within wait_s, which is logged.

    window_s gives the length of a ship's windows. It never raises for ClickHouse: a start without
    history is a cold one. An embedded database is asked only where this process has it open already
    (shares_chdb): opening it here would keep it from the archive flow.
    """
    answers: SimpleQueue[LogHistory | ClickHouseError] = SimpleQueue()

    def ask() -> None:
        try:
            if ClickHouseDsn.parse(dsn).embedded and not shares_chdb:
                raise ClickHouseError("the embedded database belongs to another process")
            with closing(Reader(dsn, database, max_seconds=QUERY_S, max_clients=1)) as reader:
                answers.put(read_history(reader, now=now, window_s=window_s))
        except ClickHouseError as error:
            answers.put(error)

    # In a thread of its own, since a server that takes a connection and stays silent would hold us up for longer.
    threading.Thread(target=ask, name="log-history", daemon=True).start()
    try:
        found = answers.get(timeout=wait_s)
    except Empty:
        found = ClickHouseError(f"no answer within {wait_s:g} s")
    if isinstance(found, ClickHouseError):
        log.warning("no log history", reason=str(found), then="templates and rates warm up from the log alone")
        return None
    for ship_id, ship in found.items():
        log.info("log history", ship_id=ship_id, forms=len(ship.forms), series=len(ship.counts))
    return found


def read_history(reader: _Reader, *, now: datetime, window_s: Callable[[str], int]) -> LogHistory:
    """The masked forms of the last days, at most 10,000 a ship, and counts by window of the last hours.

    Of the five ships with most lines. Lines written twice may count twice. Raises as Reader.query does.
    """
    forms = _forms(reader, now)
    return {
        ship_id: ShipHistory(tuple(known), window_s(ship_id), _counts(reader, ship_id, now, window_s(ship_id)))
        for ship_id, known in forms.items()
    }


def _forms(reader: _Reader, now: datetime) -> dict[str, list[KnownForm]]:
    rows = _forms_rows(reader, now)
    found: dict[str, list[KnownForm]] = defaultdict(list)
    for row in rows:
        if row["ship_id"] in found or len(found) < MAX_SHIPS:
            found[row["ship_id"]].append(KnownForm(row["template"], row["example"], row["lines"], row["first"]))
    return found


def _forms_rows(reader: _Reader, now: datetime) -> list[dict[str, Any]]:
    for span in FORMS_SPANS:
        try:
            limits = {"most": MAX_FORMS, "all": MAX_SHIPS * MAX_FORMS}
            return reader.query(FORMS, {"since": now - span, **limits})
        except QueryTooBigError as error:
            log.info("log history of a shorter time", reason=str(error), tried_hours=span.total_seconds() / 3600)
    return []


def _counts(reader: _Reader, ship_id: str, now: datetime, window_s: int) -> tuple[CountedLines, ...]:
    asked = {"ship": ship_id, "since": now - COUNTS_SPAN, "window_us": window_s * 1_000_000, "most": MAX_SERIES}
    try:
        rows = reader.query(COUNTS, asked)
    except QueryTooBigError as error:
        log.info("no history of log rates", ship_id=ship_id, reason=str(error))
        return ()
    counted = [
        CountedLines(
            row["device_id"],
            row["service"],
            row["level"],
            row["template"],
            tuple(sorted(zip(row["windows"], row["counts"], strict=True))),
        )
        for row in rows
    ]
    return _newest(counted, MAX_COUNTS)


def _newest(counted: list[CountedLines], most: int) -> tuple[CountedLines, ...]:
    """The counts of the newest windows, of all series alike, so many that they are at most `most`."""
    sizes: dict[int, int] = defaultdict(int)
    for lines in counted:
        for window, _ in lines.windows:
            sizes[window] += 1
    first, left = 0, most
    for window in sorted(sizes, reverse=True):
        left -= sizes[window]
        if left < 0:
            first = window + 1
            break
    if first == 0:
        return tuple(counted)
    cut = (lines._replace(windows=tuple(each for each in lines.windows if each[0] >= first)) for lines in counted)
    return tuple(lines for lines in cut if lines.windows)
