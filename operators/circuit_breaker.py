"""circuit_breaker: stop asking what does not answer, and find out later whether it does again."""

import threading
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class BreakerLimits:
    """failures: so many in a row open it. open_s: pause until the next probe. slow_s: a call longer than this failed.

    >>> BreakerLimits(failures=0)
    Traceback (most recent call last):
        ...
    ValueError: failures is 0, expected at least 1
    """

    failures: int = 3
    open_s: float = 10.0
    slow_s: float = 0.5

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError(f"failures is {self.failures!r}, expected at least 1")
        for name in ("open_s", "slow_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected more than 0")


class CircuitBreaker:
    """Closed while calls succeed, open after failures in a row, half open for one probe after a pause.

    A call is begun (begin gives its number), then ended by succeeded or failed; one that has run
    for slow_s counts as failed while it still runs, so what hangs opens the breaker as what refuses
    does. now is monotonic seconds. Thread-safe; the clock is the caller's. State: a count, one time
    and the calls in progress; none survives a restart.

    >>> breaker = CircuitBreaker(BreakerLimits(failures=1, open_s=10))
    >>> breaker.failed(breaker.begin(0.0), 0.1, "connection refused")
    >>> breaker.refuses(5.0), breaker.begin_probe(5.0)
    ('connection refused', None)
    >>> probe = breaker.begin_probe(10.1)
    >>> breaker.succeeded(probe, 10.2)
    >>> breaker.refuses(10.2) is None
    True
    """

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._numbers = count()
        self._running: dict[int, float] = {}
        self._failures = 0
        self._opened_at: float | None = None
        self._reason = ""

    def refuses(self, now: float) -> str | None:
        """Why nothing should be asked now (the last failure); None while it may."""
        with self._lock:
            self._count_slow(now)
            return self._reason if self._opened_at is not None else None

    def begin(self, now: float) -> int:
        """A call begins; its number."""
        with self._lock:
            return self._begin(now)

    def begin_probe(self, now: float) -> int | None:
        """Begin a probe: its number; None unless the breaker is open, its pause over, and no other call runs."""
        with self._lock:
            self._count_slow(now)
            if self._opened_at is None or now - self._opened_at < self._limits.open_s or self._running:
                return None
            return self._begin(now)

    def succeeded(self, number: int, now: float) -> None:
        """The call has answered; in time, it closes the breaker."""
        with self._lock:
            self._count_slow(now)
            if self._running.pop(number, None) is not None:
                self._failures = 0
                self._opened_at = None

    def failed(self, number: int, now: float, reason: str) -> None:
        """The call has failed."""
        with self._lock:
            self._count_slow(now)
            if self._running.pop(number, None) is not None:
                self._fail(now, reason)

    def _begin(self, now: float) -> int:
        number = next(self._numbers)
        self._running[number] = now
        return number

    def _count_slow(self, now: float) -> None:
        slow = [number for number, since in self._running.items() if now - since >= self._limits.slow_s]
        for number in slow:
            del self._running[number]
            self._fail(now, f"no answer within {self._limits.slow_s * 1000:g} ms")

    def _fail(self, now: float, reason: str) -> None:
        self._failures += 1
        self._reason = reason
        if self._opened_at is not None or self._failures >= self._limits.failures:
            self._opened_at = now
