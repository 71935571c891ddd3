"""An hour of a small ship, as messages in memory."""

import json
import random
from typing import Any

from operators.log_clock import LogClock
from schemas.event import Outgoing, RawMessage
from tests.support.make import raw

HOT = {"service": "node", "metric_name": "cpu_pct", "metric_value": 95.0}


def story(seed: int = 1) -> list[RawMessage]:
    """A CPU that runs hot, an attack, a link that fails, and some rubbish."""
    draw = random.Random(seed)
    out: list[RawMessage] = []

    def say(second: float, subject: str, body: Any) -> None:
        out.append(raw(len(out) + 1, subject, body, second))

    for minute in range(60):
        second = minute * 60.0
        cpu = 95.0 if 10 <= minute < 20 else 40.0 + draw.random()
        sample = {"service": "node", "metric_name": "cpu_pct", "metric_value": cpu}
        say(second, "metrics.ingested.system.srv-1", [sample, {**sample, "device_id": "srv-2", "metric_value": 30.0}])
        if minute % 7 == 0:
            say(second + 1, "metrics.ingested.system.srv-1", '{"broken')
        if 30 <= minute < 33:
            for n in range(8):
                msg = f"Failed password for root from 203.0.113.{n} port 4711 ssh2"
                line = {"device_id": "gw-1", "level": "error", "msg": msg}
                say(second + 2 + n / 10, "logs.ingested.security.sshd", line)
        if minute in (25, 26):
            line = {"device_id": "rt-1", "level": "error", "msg": "Interface Gi0/1, changed state to down"}
            say(second + 3, "logs.ingested.net.ifmgr", line)
    return out


def with_ticks(messages: list[RawMessage]) -> list[RawMessage]:
    """The messages as a source hands them on: a tick before each that begins a new second of log time."""
    clock = LogClock()
    out = []
    for message in messages:
        if clock.reaches(message.observed_at):
            out.append(message._replace(data=b"", tick=True))
        out.append(message)
    return out


def incidents(messages: list[Outgoing]) -> list[bytes]:
    """The revisions, in order."""
    return [message.data for message in messages if message.stream == "INCIDENTS"]


def as_stored(stream: str, messages: list[Outgoing]) -> list[RawMessage]:
    """What was published to a stream, as its reader gets it: each id once."""
    once = {message.msg_id: message for message in reversed(messages) if message.stream == stream}
    kept = [message for message in messages if once.get(message.msg_id) is message]
    return [
        raw(number, message.subject, message.data)._replace(stream=stream)
        for number, message in enumerate(kept, start=1)
    ]


def told(data: bytes) -> dict[str, Any]:
    """A message as its reader sees it."""
    found: dict[str, Any] = json.loads(data)
    return found
