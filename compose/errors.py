"""From an exception to one clear line and an exit code."""

from collections.abc import Iterator
from typing import Final

import structlog

from compose.locks import ComposeError, FolderError
from operators.capture import CaptureError
from operators.clickhouse import ClickHouseError
from operators.jetstream import NatsAwayError, NatsError
from policy import PolicyError
from schemas.settings import SettingsError

CONFIGURATION: Final = (SettingsError, PolicyError, CaptureError, FolderError)
INFRASTRUCTURE: Final = (NatsError, NatsAwayError, ClickHouseError, ComposeError)

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2

log = structlog.get_logger()


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from, outermost first.

    >>> [str(cause) for cause in causes(ValueError("alone"))]
    ['alone']
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def known_cause(error: BaseException) -> BaseException | None:
    """The first cause that says for itself what is wrong and what to do; None when there is none.

    Bytewax wraps what a step raises in an error that names the step, so the cause is further in.
    """
    return next((cause for cause in causes(error) if isinstance(cause, CONFIGURATION + INFRASTRUCTURE)), None)


def exit_code(error: BaseException) -> int:
    """2 when a setting or the policy is wrong, else 1."""
    return EXIT_CONFIGURATION if isinstance(known_cause(error), CONFIGURATION) else EXIT_FAILED


def report(error: BaseException, *, flow: str, debug: bool) -> None:
    """Log an error that ends a process: one line when its cause is known, else with the stack trace.

    debug adds the stack trace always.
    """
    cause = known_cause(error)
    if cause is None:
        log.error("failed", flow=flow, error=f"{type(error).__name__}: {error}", exc_info=error)
    else:
        log.error("failed", flow=flow, error=str(cause), exc_info=error if debug else None)
