"""Writes rows in the background, and says when they are durable."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from operators.clickhouse.errors import ClickHouseAwayError, ClickHouseError
from operators.clickhouse.rows import Row, Values
from operators.observability import FlowMetrics

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LAST_S: Final = 10.0
STOP_GRACE_S: Final = 4.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """max_rows: rows an insert. max_wait_s: how long a row waits for others. max_buffered: rows held in memory."""

    max_rows: int = 5_000
    max_wait_s: float = 0.5
    max_buffered: int = 50_000

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.max_wait_s <= 0 or self.max_buffered < self.max_rows:
            raise ValueError(f"{self}: expected max_rows ≥ 1, max_wait_s > 0 and max_buffered ≥ max_rows")


@dataclass
class _Waiting:
    """Rows of one table that are not written yet; since: when the first of them came (monotonic)."""

    rows: list[Values] = field(default_factory=list)
    since: float = 0.0


class BackgroundWriter:
    """Collects rows by table and writes them from a thread of its own.

    put and flush belong to one thread (the dataflow's worker). While ClickHouse is away a batch is
    tried again for ever, with back-off; put then blocks once max_buffered rows wait. After stop is
    set, put and flush wait only as long as rows are still being written: without progress for 4 s
    they raise ClickHouseError, so that the process can end. Tables wait independently, so a revision of
    an incident does not queue behind a backlog of log lines.
    """

    def __init__(
        self,
        write: Callable[[str, list[Values]], None],
        done: Callable[[], None],
        *,
        metrics: FlowMetrics,
        stop: threading.Event,
        limits: Limits,
    ) -> None:
        self._write_rows = write
        self._done = done
        self._metrics = metrics
        self._stop = stop
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}
        self._open_rows = 0
        self._written = 0
        self._flushing = False
        self._closed = threading.Event()
        self._error: Exception | None = None
        self._problem: str | None = None
        metrics.rows_waiting.set(0)
        self._thread = threading.Thread(target=self._run, name="clickhouse-writer", daemon=True)
        self._thread.start()

    def put(self, rows: Iterable[Row]) -> None:
        """Hand over rows; blocks while more than max_buffered wait.

        Raises:
            ClickHouseError: when writing has failed for good, or stop was set and nothing moves.
        """
        now = time.monotonic()
        with self._changed:
            self._raise_failure()
            for table, values in rows:
                waiting = self._waiting.get(table)
                if waiting is None:
                    waiting = self._waiting[table] = _Waiting()
                if not waiting.rows:
                    waiting.since = now
                waiting.rows.append(values)
                self._open_rows += 1
            self._metrics.rows_waiting.set(self._open_rows)
            self._changed.notify_all()
            self._wait_for(lambda: self._open_rows <= self._limits.max_buffered)

    def flush(self) -> None:
        """Return when every row handed over is durable.

        Raises:
            ClickHouseError: as put does.
        """
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            try:
                self._wait_for(lambda: self._open_rows == 0)
            finally:
                self._flushing = False

    def abandon(self) -> None:
        """End the thread without writing what waits (it comes again from the log)."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, then end the thread; raises as flush does."""
        try:
            self.flush()
        finally:
            self.abandon()
            self._thread.join(STOP_GRACE_S)

    def _wait_for(self, done: Callable[[], bool]) -> None:
        """Wait under the lock until done, a failure, or a standstill after stop."""
        moved_at, written = time.monotonic(), self._written
        while not done():
            self._raise_failure()
            self._changed.wait(0.1)
            now = time.monotonic()
            if not self._stop.is_set() or self._written != written:
                moved_at, written = now, self._written
            elif now - moved_at > STOP_GRACE_S:
                raise ClickHouseError(
                    f"stopped with {self._open_rows} rows not written to ClickHouse ({self._problem or 'no answer'}): "
                    "nothing is lost, they are read again from JetStream at the next start"
                )
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                for table, rows in self._take():
                    self._write_until_done(table, rows)
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to; put and flush raise it
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            self._done()

    def _take(self) -> list[tuple[str, list[Values]]]:
        """Wait for what is due, and take it: the shortest table first."""
        with self._changed:
            while not self._closed.is_set():
                due = self._due()
                if due:
                    return due
                self._changed.wait(self._next_due_s())
        return []

    def _due(self) -> list[tuple[str, list[Values]]]:
        now, limits, taken = time.monotonic(), self._limits, []
        for table, waiting in sorted(self._waiting.items(), key=lambda item: len(item[1].rows)):
            rows = waiting.rows
            aged = now - waiting.since >= limits.max_wait_s
            if rows and (aged or self._flushing or len(rows) >= limits.max_rows):
                taken.append((table, rows[: limits.max_rows]))
                del rows[: limits.max_rows]
        return taken

    def _next_due_s(self) -> float | None:
        """How long until the oldest row has waited enough; None when none waits."""
        since = [waiting.since for waiting in self._waiting.values() if waiting.rows]
        return max(0.0, min(since) + self._limits.max_wait_s - time.monotonic()) if since else None

    def _write_until_done(self, table: str, rows: list[Values]) -> None:
        attempt, wait_s = 0, BACKOFF_FIRST_S
        while not self._closed.is_set():
            try:
                self._write_rows(table, rows)
                break
            except ClickHouseAwayError as error:
                attempt += 1
                self._problem = str(error)
                self._metrics.write_retries.labels(table).inc()
                log.warning(
                    "clickhouse_away", table=table, rows=len(rows), attempt=attempt, error=str(error), retry_s=wait_s
                )
                self._pause(wait_s)
                wait_s = min(BACKOFF_LAST_S, wait_s * 2)
        with self._changed:
            self._problem = None
            self._open_rows -= len(rows)
            self._metrics.rows_waiting.set(self._open_rows)
            self._written += len(rows)
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; half a second at most once stop is set."""
        deadline = time.monotonic() + seconds
        while not self._closed.is_set() and (left := deadline - time.monotonic()) > 0:
            self._closed.wait(min(left, 0.5))
            if self._stop.is_set():
                return
