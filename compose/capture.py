"""Capture: messages of a JetStream stream written as NDJSON lines, for replay and tests."""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from compose.visible import visible_json
from operators.capture import STREAM_HEADER, CaptureError
from operators.jetstream.ack import arrival_time, parse_ack
from operators.jetstream.connection import Link, NatsAwayError, NatsConfig, open_link
from operators.jetstream.streams import stream_state

FETCH = 500
QUIET_S = 5.0


def capture_to(config: NatsConfig, out: Path, *, stream: str, first: int, count: int | None) -> int:
    """Capture into a file (- for standard output); what broke off leaves no file behind.

    Raises:
        NatsError, NatsAwayError, CaptureError: when NATS cannot be read or the file not written.
    """
    if str(out) == "-":
        return asyncio.run(capture(config, _print, stream=stream, first=first, count=count))
    unfinished = out.with_name(f"{out.name}.part")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            copy = capture(config, lambda text: file.write(f"{text}\n"), stream=stream, first=first, count=count)
            written = asyncio.run(copy)
        unfinished.replace(out)
    except OSError as error:
        if isinstance(error, NatsAwayError):
            raise
        raise CaptureError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return written


async def capture(
    config: NatsConfig,
    emit: Callable[[str], object],
    *,
    stream: str = "TELEMETRY",
    first: int = 1,
    count: int | None = None,
) -> int:
    """Write the messages that the stream holds now, from sequence `first`, at most `count`; return how many.

    Each line's headers name the stream and when it was created, so a replay builds the same
    tracking ids.

    Raises:
        NatsError, NatsAwayError: when NATS or the stream cannot be reached.
    """
    link = await open_link(config, "capture")
    try:
        return await _copy(link, emit, stream, first, count)
    finally:
        await link.close()


async def _copy(link: Link, emit: Callable[[str], object], stream: str, first: int, count: int | None) -> int:
    state = await stream_state(link, stream)
    identity = f"{stream}@{state.created}"
    last, written = state.last, 0
    if state.first > last or first > last:
        return 0
    consumer = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=max(first, state.first),
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
    )
    subscription = await link.client.jetstream().pull_subscribe("", stream=stream, config=consumer)
    while count is None or written < count:
        wanted = FETCH if count is None else min(FETCH, count - written)
        try:
            messages = await subscription.fetch(wanted, timeout=QUIET_S)
        except NatsTimeoutError:
            return written
        for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > last:
                return written
            emit(capture_line(message, identity))
            written += 1
            if sequence == last:
                return written
    return written


def capture_line(message: Msg, identity: str) -> str:
    """One message as a line of a capture."""
    delivery = parse_ack(message.reply)
    arrival = arrival_time(delivery.arrived)
    record: dict[str, Any] = {
        "seq": delivery.sequence,
        "subject": message.subject,
        "ts": arrival.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "headers": {**(message.headers or {}), STREAM_HEADER: identity},
    }
    try:
        record["data"] = message.data.decode("utf-8")
    except UnicodeDecodeError:
        record["data_base64"] = b64encode(message.data).decode()
    return visible_json(record, indent=None)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
