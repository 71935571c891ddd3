"""order: events of many slots back into the order of the log."""

from collections.abc import Iterable
from datetime import datetime

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import StatefulBatchLogic

from schemas.event import Event


class OrderLogic(StatefulBatchLogic[Event, Event, None]):
    """Sorts what arrives together; what arrived before was earlier in the log. Keeps no state."""

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Event], bool]:
        """The events of one batch, in order."""
        return sorted(values, key=lambda event: event.order), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Never."""
        return None

    def snapshot(self) -> None:
        """Nothing to keep."""
        return


@operator
def order(step_id: str, up: Stream[Event]) -> Stream[Event]:
    """Sort events by Event.order, whatever the batches were; for a stream of few events, on one worker."""
    keyed = op.key_on("together", up, lambda event: "all")
    return op.key_rm("unkey", op.stateful_batch("sort", keyed, lambda resume: OrderLogic()))
