"""The items that travel inside a flow (never on the wire)."""

from datetime import datetime
from typing import NamedTuple

from schemas.anomaly import AnomalyDetected
from schemas.base import Pos
from schemas.ops import Device, OpsCommand, OpsTick
from schemas.telemetry import LogMessage, MetricSample

Body = LogMessage | MetricSample | OpsTick | OpsCommand | Device | AnomalyDetected


class RawMessage(NamedTuple):
    """One stored message as a source hands it on.

    stream is the name of the stream, identity the 48 bits of schemas.identity.stream_identity.
    With tick set it is no message but log time reaching observed_at just before sequence (see
    operators.log_clock); data is then empty. With gap_last set it is no message either: those from
    sequence to gap_last were removed before they were read; observed_at is the arrival of the next one.
    """

    stream: str
    identity: int
    sequence: int
    observed_at: datetime
    subject: str
    data: bytes
    tick: bool = False
    gap_last: int | None = None


class Event(NamedTuple):
    """One thing on the spine: its place in the order, its log time, and what it is."""

    pos: Pos
    at: datetime
    body: Body

    @property
    def order(self) -> tuple[Pos, bool, datetime, str]:
        """Sort key of everything: position, findings before the tick that caused them, log time, id."""
        body = self.body
        if isinstance(body, AnomalyDetected):
            return (self.pos, False, self.at, body.anomaly_id)
        return (self.pos, True, self.at, "")


Batch = list[Event]
"""What one batch of the source gives, in order: from decode to detect it travels as one item."""


class Outgoing(NamedTuple):
    """One message to publish: to which stream and subject, under which Nats-Msg-Id.

    observed_at is the arrival of the event that caused it, where latency is measured, else None.
    """

    stream: str
    subject: str
    msg_id: str
    data: bytes
    tracking_id: str | None = None
    observed_at: datetime | None = None
