"""Several pieces of work at once, each in a thread of its own."""

import threading
from collections.abc import Callable, Sequence

Work = Callable[[], None]


def at_once(works: Sequence[Work]) -> None:
    """Do all of them, the last in this thread; returns when every one has ended.

    Daemon threads, so that one that hangs never keeps the process from ending.

    Raises:
        Exception: the first that one of them raised, in their order; the others were done all the same.
    """
    errors: list[Exception | None] = [None] * len(works)

    def run(place: int) -> None:
        try:
            works[place]()
        except Exception as error:  # noqa: BLE001 - raised below
            errors[place] = error

    threads = [
        threading.Thread(target=run, args=(place,), name=f"at-once-{place}", daemon=True)
        for place in range(len(works) - 1)
    ]
    for thread in threads:
        thread.start()
    if works:
        run(len(works) - 1)
    for thread in threads:
        thread.join()
    for error in errors:
        if error is not None:
            raise error
