"""State of an earlier run that cannot be taken over: one error for all steps."""

from collections.abc import Iterator
from contextlib import contextmanager


class StoredStateError(ValueError):
    """A step's stored state cannot be used; the message says which step's and why."""


@contextmanager
def reading_state(step: str) -> Iterator[None]:
    """Whatever goes wrong while a step takes over its stored state is said as that.

    >>> with reading_state("detect"):
    ...     {"v": 1}["slots"]
    Traceback (most recent call last):
    operators.stored_state.StoredStateError: the stored state of detect cannot be used (KeyError: 'slots')

    Raises:
        StoredStateError: from within the block.
    """
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise StoredStateError(f"the stored state of {step} cannot be used ({said})") from error
