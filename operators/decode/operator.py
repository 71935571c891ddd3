"""decode: the step that reads messages; what cannot be read leaves as dead letters."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator

from operators.decode.decoder import DecodeLimits, Decoder, Refused
from operators.observability import FlowMetrics
from operators.redact import redactor_of
from policy import PolicySet
from schemas.dead_letter import DeadLetter
from schemas.event import Batch, Event, RawMessage
from schemas.identity import event_uuid

log = structlog.get_logger()


@dataclass(frozen=True)
class DecodeOut:
    """The two streams that leave decode: events batch by batch, dead letters one by one."""

    events: Stream[Batch]
    dead_letters: Stream[DeadLetter]


@operator
def decode(
    step_id: str,
    up: Stream[RawMessage],
    *,
    ship_id: str,
    policy: PolicySet,
    metrics: FlowMetrics,
    log_level: int = logging.WARNING,
) -> DecodeOut:
    """Read every message; what cannot be read leaves by the second stream, counted by reason.

    Stateless; each message gives the same events whenever it is read.
    """
    ingest = policy.for_ship(ship_id).ingest
    decoder = Decoder(
        ship_id,
        DecodeLimits(
            ingest.max_message_bytes,
            ingest.max_items_per_message,
            timedelta(seconds=ingest.max_future_s),
            timedelta(seconds=ingest.max_past_s),
        ),
        redactor_of(policy, ship_id).payload,
    )

    def read(batch: list[RawMessage]) -> Iterable[list[Event | Refused]]:
        return (list(chain.from_iterable(map(decoder.decode, batch))),)

    said = [-1]  # one line in the log a message, however many letters it gives

    def dead_letter(item: Refused) -> DeadLetter:
        metrics.dead_letters.labels(item.code).inc()
        letter = item.letter
        if letter.index > 0 and letter.sequence == said[0]:
            return letter
        said[0] = letter.sequence
        log.log(
            log_level,
            "dead letter",
            reason=letter.reason,
            subject=letter.subject,
            sequence=letter.sequence,
            ship_id=letter.ship_id,
            tracking_id=event_uuid(item.stream_identity, letter.sequence, letter.index),
        )
        return letter

    def dead_letters(items: list[Event | Refused]) -> Iterable[DeadLetter]:
        return [dead_letter(item) for item in items if isinstance(item, Refused)]

    items = op.flat_map_batch("read", up, read)
    return DecodeOut(op.map("events", items, _events), op.flat_map("dead_letters", items, dead_letters))


def _events(items: list[Event | Refused]) -> Batch:
    return [item for item in items if isinstance(item, Event)]
