"""JetStream in and out of a dataflow: streams, a source and a sink that neither lose nor double."""

from operators.jetstream.ack import Delivery, arrival_time, parse_ack
from operators.jetstream.background import Background, background
from operators.jetstream.connection import (
    JetStreamRefusedError,
    Link,
    NatsAwayError,
    NatsConfig,
    NatsError,
    open_link,
)
from operators.jetstream.sink import JetStreamSink
from operators.jetstream.source import JetStreamSource
from operators.jetstream.streams import StreamConflict, StreamState, ensure_streams, stream_state, stream_states

__all__ = [
    "Background",
    "Delivery",
    "JetStreamRefusedError",
    "JetStreamSink",
    "JetStreamSource",
    "Link",
    "NatsAwayError",
    "NatsConfig",
    "NatsError",
    "StreamConflict",
    "StreamState",
    "arrival_time",
    "background",
    "ensure_streams",
    "open_link",
    "parse_ack",
    "stream_state",
    "stream_states",
]
