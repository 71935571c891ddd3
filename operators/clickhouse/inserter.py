"""One attempt to write rows: whole if it goes, else without the rows that the server refuses."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.insert import InsertContext

from operators.clickhouse.connection import TRANSPORT_ERRORS
from operators.clickhouse.errors import ClickHouseAwayError, ClickHouseQueryError, brief, explain, refused_value
from operators.clickhouse.rows import COLUMNS, Row, Values, as_text
from operators.observability import FlowMetrics
from schemas.dead_letter import MAX_PAYLOAD_BYTES
from schemas.identity import content_uuid

ENCODING_ERRORS: Final = (TypeError, ValueError, OverflowError, AttributeError)

SETTINGS: Final[dict[str, Any]] = {"max_partitions_per_insert_block": 0, "async_insert": 0}
"""A backlog may span many days, and rows must be durable when an insert returns."""

TRIES: Final = 3
"""So often a row is tried alone before an unknown refusal is put down to it."""

log = structlog.get_logger()


class Inserter:
    """Writes batches of rows over one client, which it opens when needed and drops when it fails.

    Not thread-safe: it belongs to one writer.
    """

    def __init__(self, connect: Callable[[], Client], database: str, metrics: FlowMetrics) -> None:
        self._connect = connect
        self._database = database
        self._metrics = metrics
        self._client: Client | None = None
        self._contexts: dict[str, InsertContext] = {}

    def write(self, table: str, rows: Sequence[Values]) -> None:
        """Write the rows; when it returns they are durable, but for those that were refused for a value.

        A refused row is kept in dead_letters with the reason, under an id made of its content. Refused is
        also a row that fails three times, for whatever reason, while its table takes others.
        Rows written twice (after a failure half-way) collapse into one.

        Raises:
            ClickHouseAwayError: when ClickHouse cannot take them now; none, some or all are written.
            SchemaError: when the database is newer than this code.
        """
        try:
            self._write(table, rows)
        except ClickHouseQueryError as error:
            raise ClickHouseAwayError(str(error)) from error
        except TRANSPORT_ERRORS as error:
            self.close()
            failure = explain(error, "CLICKHOUSE_DSN", self._database)
            raise ClickHouseAwayError(str(failure)) from error

    def close(self) -> None:
        """Close the client; the next write opens another."""
        client, self._client = self._client, None
        self._contexts.clear()
        if client is not None:
            client.close()

    def _write(self, table: str, rows: Sequence[Values]) -> None:
        refused: list[Row] = []
        waiting, tries = [rows], 0
        while waiting:
            part = waiting.pop()
            try:
                self._insert(table, part)
            except (*TRANSPORT_ERRORS, *ENCODING_ERRORS) as error:
                if not refused_value(error) and not self._only_these(table, error):
                    raise
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                elif not refused_value(error) and (tries := tries + 1) < TRIES:
                    waiting.append(part)
                else:
                    tries = 0
                    refused += self._refuse(table, part[0], brief(error))
            else:
                tries = 0
                self._metrics.rows_written.labels(table).inc(len(part))
        if refused:
            self._write("dead_letters", [row.values for row in refused])

    def _only_these(self, table: str, error: Exception) -> bool:
        """Whether the server takes rows for this table, but not these; it refused with a code we do not know."""
        if not isinstance(error, DatabaseError) or self._client is None:
            return False
        if isinstance(explain(error, "CLICKHOUSE_DSN", self._database), ClickHouseAwayError):
            return False
        where, names = f"{self._database}.{table}", ", ".join(f"`{name}`" for name in COLUMNS[table])
        try:
            self._client.command(f"INSERT INTO {where} ({names}) SELECT {names} FROM {where} WHERE 0")  # noqa: S608
        except TRANSPORT_ERRORS as other:
            log.debug("clickhouse_table_refuses", table=table, reason=brief(other))
            return False
        return True

    def _insert(self, table: str, rows: Sequence[Values]) -> None:
        if self._client is None:
            self._client = self._connect()
        context = self._contexts.get(table)
        if context is None:
            context = self._client.create_insert_context(
                table, COLUMNS[table], database=self._database, settings=dict(SETTINGS)
            )
            self._contexts[table] = context
        context.data = rows
        try:
            self._client.insert(context=context)
        finally:
            context.data = None

    def _refuse(self, table: str, values: Values, reason: str) -> list[Row]:
        self._metrics.dead_letters.labels("clickhouse_refused").inc()
        log.warning("clickhouse_refused_row", table=table, reason=reason, row=as_text(table, values)[:500])
        # A dead letter that is refused has nowhere else to go: the line above keeps it.
        return [] if table == "dead_letters" else [quarantine_row(table, values, reason, int(time.time() * 1_000_000))]


def quarantine_row(table: str, values: Values, reason: str, now_us: int) -> Row:
    """A dead letter that holds a row which was refused: pure ASCII, so that it is not refused again.

    now_us (microseconds since 1970) stands in where the row has no arrival time that can be read.
    """
    row = dict(zip(COLUMNS[table], values, strict=False))
    payload = as_text(table, values)
    arrived = row.get("published_at", row.get("observed_at"))
    published_at = arrived if isinstance(arrived, int) and 0 <= arrived < 1 << 52 else now_us
    sequence = row.get("stream_seq")
    sequence = sequence if isinstance(sequence, int) and 0 <= sequence < 1 << 63 else 0
    known: dict[str, Any] = {
        "dead_letter_id": content_uuid("clickhouse", table, payload),
        "ship_id": _ascii(row.get("ship_id")),
        "stream": "clickhouse",
        "sequence": sequence,
        "index": 0,
        "subject": f"clickhouse.{table}",
        "observed_at": published_at,
        "published_at": published_at,
        "stream_seq": sequence,
        "reason": _ascii(f"ClickHouse refused the row: {reason}"),
        "size": len(payload),
        "truncated": len(payload) > MAX_PAYLOAD_BYTES,
        "encoding": "utf-8",
        "payload": payload[:MAX_PAYLOAD_BYTES],
    }
    return Row("dead_letters", tuple(known[name] for name in COLUMNS["dead_letters"]))


def _ascii(value: object) -> str:
    return str(value).encode("ascii", "backslashreplace").decode()
