"""decode: one NATS message in, its events out, or a dead letter with the reason.

At the edge be liberal: a message is one JSON object, a JSON array, or one object a line. Unknown
keys of a log go to meta; domain and service missing in the body are taken from the subject.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import bytewax.operators as op
import structlog
from bytewax.dataflow import Stream, operator
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from operators.observability import FlowMetrics
from operators.redact import Redactor, redactor_of
from policy import PolicySet
from schemas.base import UUID_PATTERN, Level, Pos
from schemas.dead_letter import DeadLetter
from schemas.event import Event, RawMessage
from schemas.identity import content_uuid, event_uuid
from schemas.ops import Device, OpsCommand, OpsTick
from schemas.telemetry import LogMessage, MetricSample

log = structlog.get_logger()

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_LOG_KEYS = frozenset(LogMessage.model_fields)
_SAMPLE_KEYS = frozenset(MetricSample.model_fields)
_IS_UUID = re.compile(UUID_PATTERN, re.IGNORECASE).fullmatch
_LEVELS = {level.value: level for level in Level} | {
    "trace": Level.DEBUG,
    "notice": Level.INFO,
    "information": Level.INFO,
    "warning": Level.WARN,
    "err": Level.ERROR,
    "crit": Level.CRITICAL,
    "fatal": Level.CRITICAL,
    "alert": Level.CRITICAL,
    "emerg": Level.CRITICAL,
    "panic": Level.CRITICAL,
}


Telemetry = TypeVar("Telemetry", LogMessage, MetricSample)


class Unreadable(ValueError):
    """An input that cannot be read: a bounded code for counting and the reason in words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds from policy.ingest: bytes a message, items a message, seconds into the future."""

    message_bytes: int = 262_144
    items: int = 10_000
    future: timedelta = timedelta(days=1)


class _BadLine(NamedTuple):
    data: bytes
    reason: str


@dataclass(frozen=True)
class Refused:
    """A dead letter, the code under which it is counted, and the stream it came from."""

    code: str
    letter: DeadLetter
    stream_identity: int


class Decoder:
    """Turns one stored message into events, in order; what cannot be read becomes a dead letter.

    Keeps no state, so vessel and archive read alike and a replay reads the same. ts later than the
    arrival is clamped to it; ts missing is the arrival; ts without a zone is refused.
    """

    def __init__(self, ship_id: str, limits: DecodeLimits) -> None:
        self.ship_id = ship_id
        self.limits = limits
        self._tick = OpsTick(ship_id=ship_id)

    def decode(self, raw: RawMessage) -> Iterator[Event | Refused]:
        """Yield the events of one message by position."""
        if raw.tick:
            yield Event((raw.sequence, -1), raw.observed_at, self._tick)
            return
        if raw.subject == "ops.tick":
            return  # its arrival alone moved log time on
        try:
            items = self._items(raw)
        except Unreadable as error:
            yield self._refuse(raw, 0, raw.data, error)
            return
        for index, item in enumerate(items):
            try:
                if isinstance(item, _BadLine):
                    raise Unreadable("not_json", item.reason)
                yield self._event(raw, (raw.sequence, index), item)
            except Unreadable as error:
                yield self._refuse(raw, index, raw.data if len(items) == 1 else _as_bytes(item), error)

    def _items(self, raw: RawMessage) -> list[Any]:
        data = raw.data
        if len(data) > self.limits.message_bytes:
            raise Unreadable("too_large", f"message of {len(data)} bytes, at most {self.limits.message_bytes} are read")
        if not data.strip():
            raise Unreadable("empty", "empty message, expected JSON")
        try:
            value = from_json(data, allow_inf_nan=False)
        except ValueError as error:
            value = _lines(data, error)
        items = value if isinstance(value, list) else [value]
        if not items:
            raise Unreadable("empty", "empty array, expected at least one object")
        if len(items) > self.limits.items:
            raise Unreadable("too_large", f"message of {len(items)} items, at most {self.limits.items} are read")
        return items

    def _event(self, raw: RawMessage, pos: Pos, item: Any) -> Event:
        if not isinstance(item, dict):
            raise Unreadable("wrong_shape", f"expected a JSON object, got {type(item).__name__}")
        kind, _, rest = raw.subject.partition(".ingested.")
        try:
            if kind == "metrics":
                body: Any = self._sample(raw, pos, item, rest.split("."))
            elif kind == "logs":
                body = self._log(raw, pos, item, rest.split("."))
            elif raw.subject == "ops.command":
                body = OpsCommand.model_validate({"ship_id": self.ship_id, **item})
            elif raw.subject == "ops.device":
                body = Device.model_validate({"ship_id": self.ship_id, **item})
            else:
                raise Unreadable("unknown_subject", f"no reader for subject {raw.subject!r}")
        except ValidationError as error:
            raise Unreadable("invalid_field", _explain(error)) from error
        return Event(pos, raw.observed_at, body)

    def _log(self, raw: RawMessage, pos: Pos, item: dict[str, Any], subject: list[str]) -> LogMessage:
        fields = {key: value for key, value in item.items() if key in _LOG_KEYS}
        meta = fields.get("meta")
        fields["meta"] = dict(meta) if isinstance(meta, dict) else {} if meta is None else {"meta": meta}
        fields["meta"].update((key, value) for key, value in item.items() if key not in _LOG_KEYS)
        level = fields.get("level")
        fields["level"] = _LEVELS.get(str(level).lower(), Level.INFO)
        if level is not None and str(level).lower() not in _LEVELS:
            fields["meta"]["level"] = level
        self._common(raw, pos, fields, subject)
        if fields.get("service") is None and len(subject) > 1:
            fields["service"] = subject[1]
        given = item.get("tracking_id")
        if given is not None and fields["tracking_id"] != str(given).lower():
            fields["meta"]["tracking_id"] = given
        return self._timely(LogMessage.model_validate(fields))

    def _sample(self, raw: RawMessage, pos: Pos, item: dict[str, Any], subject: list[str]) -> MetricSample:
        fields = {key: value for key, value in item.items() if key in _SAMPLE_KEYS}
        self._common(raw, pos, fields, subject)
        if fields.get("device_id") is None and len(subject) > 1:
            fields["device_id"] = subject[1]
        if fields.get("labels") is None:
            fields["labels"] = {}
        return self._timely(MetricSample.model_validate(fields))

    def _common(self, raw: RawMessage, pos: Pos, fields: dict[str, Any], subject: list[str]) -> None:
        fields.pop("schema_version", None)
        fields.pop("error_msg", None)
        fields["observed_at"] = raw.observed_at
        if fields.get("ts") is None:
            fields["ts"] = raw.observed_at
        if fields.get("ship_id") is None:
            fields["ship_id"] = self.ship_id
        if fields.get("domain") is None:
            fields["domain"] = subject[0]
        given = fields.get("tracking_id")
        if isinstance(given, str) and _IS_UUID(given):
            fields["tracking_id"] = given.lower()
        else:
            fields["tracking_id"] = event_uuid(raw.identity, pos[0], pos[1])

    def _timely(self, message: Telemetry) -> Telemetry:
        ts, arrival = message.ts, message.observed_at
        if ts <= arrival and ts >= EARLIEST:
            return message
        if ts < EARLIEST:
            raise Unreadable("time", f"ts {ts.isoformat()} is before 1970")
        if ts - arrival > self.limits.future:
            raise Unreadable("time", f"ts {ts.isoformat()} is more than {self.limits.future} after its arrival")
        return message.model_copy(update={"ts": arrival})

    def _refuse(self, raw: RawMessage, index: int, data: bytes, error: Unreadable) -> Refused:
        letter = DeadLetter.of(
            data,
            dead_letter_id=content_uuid("dead_letter", str(raw.identity), str(raw.sequence), str(index)),
            ship_id=self.ship_id,
            stream=raw.stream,
            pos=(raw.sequence, index),
            subject=raw.subject,
            observed_at=raw.observed_at,
            reason=str(error),
        )
        return Refused(error.code, letter, raw.identity)


def _as_bytes(item: Any) -> bytes:
    return item.data if isinstance(item, _BadLine) else to_json(item)


def _lines(data: bytes, whole: ValueError) -> list[Any]:
    """Read one JSON value a line; a line that cannot be read does not spoil the others."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) < 2:
        raise Unreadable("not_json", f"not JSON: {whole}") from whole
    items: list[Any] = []
    good = 0
    for line in lines:
        try:
            items.append(from_json(line, allow_inf_nan=False))
            good += 1
        except ValueError as error:
            items.append(_BadLine(line, f"not JSON: {error}"))
    if not good:
        raise Unreadable("not_json", f"not JSON: {whole}") from whole
    return items


def _explain(error: ValidationError) -> str:
    """The first problem in words: where, what, what was given."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    given = repr(first["input"])
    given = given if len(given) <= 80 else given[:77] + "..."
    return f"{where}: {first['msg']}, got {given}"[:500]


@dataclass(frozen=True)
class DecodeOut:
    """The two streams that leave decode."""

    events: Stream[Event]
    dead_letters: Stream[DeadLetter]


@operator
def decode(step_id: str, up: Stream[RawMessage], *, ship_id: str, policy: PolicySet, metrics: FlowMetrics) -> DecodeOut:
    """Read every message; what cannot be read leaves by the second stream, counted by reason.

    Stateless; each message gives the same events whenever it is read.
    """
    ingest = policy.for_ship(ship_id).ingest
    redactor = redactor_of(policy, ship_id)
    decoder = Decoder(
        ship_id,
        DecodeLimits(ingest.max_message_bytes, ingest.max_items_per_message, timedelta(seconds=ingest.max_future_s)),
    )

    def read(batch: list[RawMessage]) -> Iterable[Event | Refused]:
        for raw in batch:
            yield from decoder.decode(raw)

    def dead_letter(item: Event | Refused) -> DeadLetter | None:
        if isinstance(item, Event):
            return None
        metrics.dead_letters.labels(item.code).inc()
        letter = _redacted(item.letter, redactor)
        log.warning(
            "dead letter",
            reason=letter.reason,
            subject=letter.subject,
            sequence=letter.sequence,
            ship_id=letter.ship_id,
            tracking_id=event_uuid(item.stream_identity, letter.sequence, letter.index),
        )
        return letter

    items = op.flat_map_batch("read", up, read)
    return DecodeOut(op.filter_map("events", items, _event), op.filter_map("dead_letters", items, dead_letter))


def _redacted(letter: DeadLetter, redactor: Redactor) -> DeadLetter:
    """The letter without personal data; the original is in the stream under its sequence, for its age."""
    payload = redactor.text(letter.payload)[0] if letter.encoding == "utf-8" else letter.payload
    return letter.model_copy(update={"payload": payload, "reason": redactor.text(letter.reason)[0]})


def _event(item: Event | Refused) -> Event | None:
    return item if isinstance(item, Event) else None
