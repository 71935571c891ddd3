"""Context from ClickHouse: asked in batches, remembered, and never waited for longer than policy allows."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from operators.circuit_breaker import BreakerLimits, CircuitBreaker
from operators.clickhouse import ClickHouseDsn, ClickHouseError, Reader, open_client
from operators.enrich.asks import Asker, Found
from operators.enrich.at_once import at_once
from operators.enrich.cache import TtlCache
from operators.enrich.questions import DEVICE, QUESTIONS
from operators.enrich.recorded import RecordedContexts
from operators.enrich.round import Round
from policy.enrich import EnrichPolicy

NETWORK_TIMEOUT_S: Final = 1
"""After so long a client that hears nothing gives up; its anomalies have gone on by then."""

MAX_ROWS: Final = 200_000

SETTINGS: Final = {
    "max_threads": 1,
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    "compile_sort_description": 0,
}
"""Each query reads a few granules: a second thread costs half as much CPU time again, and compiling the third query of
a kind keeps it waiting for 50 to 200 ms."""

log = structlog.get_logger()


class ContextSource:
    """Answers the questions about anomalies, from memory or from ClickHouse.

    at_once and known never wait. fetch makes one query a question, whatever the number of anomalies,
    all of them at once. While the breaker is open ClickHouse is not asked
    for anomalies at all; a probe in the background finds out when it is back. Thread-safe. State:
    answers for their time to live, at most cache.size of each kind. Nothing survives a restart. recorded:
    what anomalies were published with earlier, which goes before everything else (a rebuild).
    """

    def __init__(
        self,
        reader: Reader,
        policy: EnrichPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        recorded: RecordedContexts | None = None,
    ) -> None:
        self.policy = policy
        self._recorded = recorded
        self._reader = reader
        self._clock = clock
        self._told = False
        self._warming: threading.Thread | None = None
        # An anomaly that lingered has so much left when it is asked about.
        left_s = (policy.timeout_ms - policy.linger_ms) / 1000
        self.breaker = CircuitBreaker(BreakerLimits(policy.breaker.failures, policy.breaker.open_s, left_s))
        cache = policy.cache
        self._caches = {
            question.name: TtlCache(getattr(cache, f"{question.name}_s"), cache.size, clock) for question in QUESTIONS
        }

    def at_once(self, asker: Asker) -> Found | None:
        """What is known, when that is all there is to know or ClickHouse is not to be asked now; else None."""
        if self._recorded is not None and (then := self._recorded.found(asker.anomaly.anomaly_id)) is not None:
            return then
        found = self.known(asker, "not asked")
        if found.missing is None:
            return found
        refused = self._refused()
        return None if refused is None else self.known(asker, refused)

    def known(self, asker: Asker, why: str) -> Found:
        """What memory knows; why says the reason for what is missing."""
        return Round(self._caches).found(asker, why)

    def fetch(self, askers: Sequence[Asker]) -> list[Found]:
        """What memory and ClickHouse know, in the order of askers.

        Raises:
            ClickHouseAwayError: when it is away; trying again may help.
        """
        this = Round(self._caches)
        why = self._refused()
        if why is None:
            why = f"no answer within {self.policy.timeout_ms:g} ms"
            self._ask_all(this, askers)
        return [this.found(asker, why) for asker in askers]

    def warm_up(self) -> None:
        """Ask every question about nothing, in the background: connections are open when the first anomaly comes."""
        self._warming = self._in_background(self.breaker.begin(self._clock()))

    def close(self) -> None:
        """Close the reader; what still warms up is waited for, for a moment."""
        if self._warming is not None:
            self._warming.join(NETWORK_TIMEOUT_S)
        if self._recorded is not None:
            self._recorded.close()
        self._reader.close()

    def _ask_all(self, this: Round, askers: Sequence[Asker]) -> None:
        number = self.breaker.begin(self._clock())
        try:
            # The other questions need to know the device's type.
            if device := this.wanted(DEVICE, askers):
                this.ask(DEVICE, self._reader, device)
            others = {each: want for each in QUESTIONS if each is not DEVICE and (want := this.wanted(each, askers))}
            at_once([partial(this.ask, question, self._reader, want) for question, want in others.items()])
        except Exception as error:
            self.breaker.failed(number, self._clock(), str(error))
            raise
        self.breaker.succeeded(number, self._clock())

    def _refused(self) -> str | None:
        """Why ClickHouse is not asked now; when it is time for a probe, one begins."""
        now = self._clock()
        refused = self.breaker.refuses(now)
        if refused is None:
            return None
        if not self._told:
            self._told = True
            log.warning("context_off", reason=refused, then="anomalies go on without, ClickHouse is tried now and then")
        number = self.breaker.begin_probe(now)
        if number is not None:
            self._in_background(number)
        return f"ClickHouse is left alone for {self.policy.breaker.open_s:g} s after: {refused}"

    def _in_background(self, number: int) -> threading.Thread:
        thread = threading.Thread(target=partial(self._probe, number), name="context-probe", daemon=True)
        thread.start()
        return thread

    def _probe(self, number: int) -> None:
        """Ask every question about nothing, all at once as fetch does."""
        try:
            at_once([partial(each.probe, self._reader) for each in QUESTIONS])
        except ClickHouseError as error:
            self.breaker.failed(number, self._clock(), str(error))
            return
        self.breaker.succeeded(number, self._clock())
        if self._told:
            self._told = False
            log.info("context_back", say="ClickHouse answers again")


def open_context(
    dsn: str, database: str, policy: EnrichPolicy, recorded: RecordedContexts | None = None
) -> ContextSource:
    """A source of context on a ClickHouse that may be away.

    A query may take as long as an anomaly may wait; connecting and reading give up after a second.

    Raises:
        ClickHouseError: for a DSN that cannot be right.
    """
    reader = Reader(
        dsn,
        database,
        max_seconds=policy.timeout_ms / 1000,
        max_rows=MAX_ROWS,
        max_clients=policy.workers * len(QUESTIONS) + 1,
        settings=SETTINGS,
        open_with=partial(open_client, connect_timeout_s=NETWORK_TIMEOUT_S),
        read_timeout_s=NETWORK_TIMEOUT_S,
    )
    source = ContextSource(reader, policy, recorded=recorded)
    source.warm_up()
    return source


def try_context(
    dsn: str,
    database: str,
    policy: EnrichPolicy,
    *,
    shares_chdb: bool = False,
    recorded: RecordedContexts | None = None,
) -> ContextSource | None:
    """A source of context, or None where there cannot be one; one warning says why and what to set.

    An embedded database is asked only where this process has it open already (shares_chdb): opening
    it here would keep it from the archive flow. Never raises for a DSN that cannot be right: a flow
    whose anomalies go on without context is better than none.
    """
    try:
        if ClickHouseDsn.parse(dsn).embedded and not shares_chdb:
            log.warning(
                "no context", reason="the embedded database belongs to another process", then="severity by score"
            )
            return None
        return open_context(dsn, database, policy, recorded)
    except ClickHouseError as error:
        log.warning("no context", setting="CLICKHOUSE_DSN", reason=str(error), then="severity by score")
        return None
