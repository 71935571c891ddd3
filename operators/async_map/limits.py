"""What an async_map may take: time, places, threads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AsyncLimits:
    """The bounds of one async_map step.

    timeout_s: from an item's arrival at the step until it goes on, retries and queueing included.
    capacity: items a key holds, in calls, waiting for one, or for their turn; more wait upstream.
    workers: calls at once, of all keys of the process. max_batch: items a call.
    retries: calls after the first failed one; backoff_s: pause before the first of them, doubled
    each time. poll_s: how often the worker looks for answers while any are due.
    linger_s: how long an item waits for others to share its first call.

    >>> AsyncLimits(timeout_s=0)
    Traceback (most recent call last):
        ...
    ValueError: timeout_s is 0, expected more than 0
    """

    timeout_s: float = 0.5
    capacity: int = 1000
    workers: int = 2
    max_batch: int = 200
    retries: int = 1
    backoff_s: float = 0.05
    poll_s: float = 0.001
    linger_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("timeout_s", "poll_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected more than 0")
        for name in ("capacity", "workers", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected at least 1")
        for name in ("retries", "backoff_s", "linger_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected 0 or more")
