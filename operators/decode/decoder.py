"""From payload to events: the Decoder reads one stored message, whatever it holds."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from operators.decode.commands import read_command, refused_command
from operators.decode.gap import gap_events
from operators.decode.payload import BadLine, Unreadable, as_bytes, read_items
from operators.decode.quick import EARLIEST, LEVELS, LOG_KEYS, QuickReader
from schemas.base import UUID_PATTERN, Level, Pos, first_problem
from schemas.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter
from schemas.event import Event, RawMessage
from schemas.identity import content_uuid, event_uuid
from schemas.ops import Device, OpsTick
from schemas.telemetry import LogMessage, MetricSample, Telemetry

MAX_LETTERS = 10
"""A message with more unreadable items than this becomes one dead letter, whole."""

_SAMPLE_KEYS = frozenset(MetricSample.model_fields)
_tuple = tuple.__new__
_IS_UUID = re.compile(UUID_PATTERN, re.IGNORECASE).fullmatch


MAX_SUBJECTS = 10_000
"""Subjects remembered; a ship has one a device and one a service."""

Tokens = tuple[str, ...]
Reader = tuple[Callable[[RawMessage, list[Any], Tokens], list[Any]], Tokens]


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds from policy.ingest: bytes a message, items a message, into the future, into the past."""

    message_bytes: int = 262_144
    items: int = 10_000
    future: timedelta = timedelta(days=1)
    past: timedelta = timedelta(days=31)


@dataclass(frozen=True)
class Refused:
    """A dead letter, the code under which it is counted, and the stream it came from."""

    code: str
    letter: DeadLetter
    stream_identity: int


class Decoder:
    """Turns one stored message into events, in order; what cannot be read becomes a dead letter.

    Keeps no state, so vessel and archive read alike and a replay reads the same. ts later than the
    arrival is clamped to it; ts missing is the arrival; ts without a zone, or further before or after the
    arrival than the limits, is refused. clean takes personal data out of what goes into dead letters.
    quick: read the common sample and line without the models, which gives the same (False: the reference).
    """

    def __init__(
        self,
        ship_id: str,
        limits: DecodeLimits,
        clean: Callable[[bytes], bytes] = lambda data: data,
        *,
        quick: bool = True,
    ) -> None:
        self.ship_id = ship_id
        self.limits = limits
        self._clean = clean
        self._tick = OpsTick(ship_id=ship_id)
        self._quick = QuickReader(ship_id, limits.past) if quick else None
        self._readers: dict[str, Reader] = {}

    def decode(self, raw: RawMessage) -> list[Event | Refused]:
        """The events of one message by position, then what was refused of it."""
        if raw.tick:
            return [Event((raw.sequence, -1), raw.observed_at, self._tick)]
        if raw.gap_last is not None:
            return list(gap_events(raw, self.ship_id))
        if raw.subject == "ops.tick":
            return []  # its arrival alone moved log time on
        try:
            items = read_items(raw.data, self.limits.message_bytes, self.limits.items)
        except Unreadable as error:
            return [self._refuse(raw, 0, raw.data, error)]
        read, tokens = self._readers.get(raw.subject) or self._reader_of(raw.subject)
        bodies = read(raw, items, tokens)
        if not all(bodies):  # a message is always true
            return self._read_rest(raw, items, bodies)
        sequence, at = raw.sequence, raw.observed_at
        # as Event(…) would, in half its time
        return [_tuple(Event, ((sequence, index), at, body)) for index, body in enumerate(bodies)]

    def _reader_of(self, subject: str) -> Reader:
        """Who reads the common item of a subject, and the subject's tokens from the domain on; remembered."""
        kind, tokens = _subject(subject)
        quick: dict[str, Callable[..., list[Any]]] = {}
        if self._quick is not None:
            quick = {"metrics": self._quick.samples, "logs": self._quick.lines}
        reader: Reader = (quick.get(kind, _nothing), tokens)
        if len(self._readers) >= MAX_SUBJECTS:
            self._readers.clear()
        self._readers[subject] = reader
        return reader

    def _read_rest(self, raw: RawMessage, items: list[Any], bodies: list[Any]) -> list[Event | Refused]:
        """The events of what was read quickly, and what the models make of the rest."""
        out: list[Event | Refused] = []
        refused: list[Refused] = []
        for index, (item, body) in enumerate(zip(items, bodies, strict=True)):
            if body is not None:
                out.append(Event((raw.sequence, index), raw.observed_at, body))
                continue
            try:
                if isinstance(item, BadLine):
                    raise Unreadable("not_json", item.reason)
                out.append(self._event(raw, (raw.sequence, index), item))
            except Unreadable as error:
                if len(refused) <= MAX_LETTERS:
                    data = raw.data if len(items) == 1 else as_bytes(item)
                    refused.append(self._refuse(raw, index, data, error))
                    out.extend(self._answerable(raw, index, item, refused[-1].letter.reason))
        if len(refused) > MAX_LETTERS:
            first = refused[0]
            many = Unreadable(first.code, f"more than {MAX_LETTERS} items, the first: {first.letter.reason}")
            refused = [self._refuse(raw, 0, raw.data, many)]
        return [*out, *refused]

    def _answerable(self, raw: RawMessage, index: int, item: Any, reason: str) -> Iterator[Event]:
        """Of a command that was refused, what its answer needs."""
        command = refused_command(item, self.ship_id, reason) if raw.subject == "ops.command" else None
        if command is not None:
            yield Event((raw.sequence, index), raw.observed_at, command)

    def _event(self, raw: RawMessage, pos: Pos, item: Any) -> Event:
        if not isinstance(item, dict):
            raise Unreadable("wrong_shape", f"expected a JSON object, got {type(item).__name__}")
        kind, tokens = _subject(raw.subject)
        try:
            if kind == "metrics":
                body: Any = self._sample(raw, pos, item, tokens)
            elif kind == "logs":
                body = self._log(raw, pos, item, tokens)
            elif raw.subject == "ops.command":
                body = read_command(item, self.ship_id)
            elif raw.subject == "ops.device":
                body = Device.model_validate({"ship_id": self.ship_id, **item})
            else:
                raise Unreadable("unknown_subject", f"no reader for subject {raw.subject!r}")
        except ValidationError as error:
            raise Unreadable("invalid_field", _explain(error)) from error
        return Event(pos, raw.observed_at, body)

    def _log(self, raw: RawMessage, pos: Pos, item: dict[str, Any], subject: Tokens) -> LogMessage:
        fields = {key: value for key, value in item.items() if key in LOG_KEYS}
        meta = fields.get("meta")
        fields["meta"] = dict(meta) if isinstance(meta, dict) else {} if meta is None else {"meta": meta}
        fields["meta"].update((key, value) for key, value in item.items() if key not in LOG_KEYS)
        level = fields.get("level")
        fields["level"] = LEVELS.get(str(level).lower(), Level.INFO)
        if level is not None and str(level).lower() not in LEVELS:
            fields["meta"]["level"] = level
        self._common(raw, pos, fields, subject)
        if fields.get("service") is None and len(subject) > 1:
            fields["service"] = subject[1]
        given = item.get("tracking_id")
        if given is not None and fields["tracking_id"] != str(given).lower():
            fields["meta"]["tracking_id"] = given
        return self._timely(LogMessage.model_validate(fields))

    def _sample(self, raw: RawMessage, pos: Pos, item: dict[str, Any], subject: Tokens) -> MetricSample:
        fields = {key: value for key, value in item.items() if key in _SAMPLE_KEYS}
        self._common(raw, pos, fields, subject)
        if fields.get("device_id") is None and len(subject) > 1:
            fields["device_id"] = subject[1]
        labels = fields.get("labels")
        if isinstance(labels, dict):
            fields["labels"] = {key: str(value) if _is_scalar(value) else value for key, value in labels.items()}
        elif labels is None:
            fields["labels"] = {}
        return self._timely(MetricSample.model_validate(fields))

    def _common(self, raw: RawMessage, pos: Pos, fields: dict[str, Any], subject: Tokens) -> None:
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
        if ts < EARLIEST:
            raise Unreadable("time", f"ts {ts.isoformat()} is before 1970")
        if arrival - ts > self.limits.past:
            raise Unreadable("time", f"ts {ts.isoformat()} is more than {self.limits.past} before its arrival")
        if ts <= arrival:
            return message
        if ts - arrival > self.limits.future:
            raise Unreadable("time", f"ts {ts.isoformat()} is more than {self.limits.future} after its arrival")
        return message.model_copy(update={"ts": arrival})

    def _refuse(self, raw: RawMessage, index: int, data: bytes, error: Unreadable) -> Refused:
        letter = DeadLetter.of(
            self._clean(data[:MAX_PAYLOAD_BYTES]),
            size=len(data),
            dead_letter_id=content_uuid("dead_letter", str(raw.identity), str(raw.sequence), str(index)),
            ship_id=self.ship_id,
            stream=raw.stream,
            pos=(raw.sequence, index),
            subject=raw.subject,
            observed_at=raw.observed_at,
            reason=self._clean(str(error).encode()).decode(),
        )
        return Refused(error.code, letter, raw.identity)


def _nothing(raw: RawMessage, items: list[Any], tokens: Tokens) -> list[Any]:
    return [None] * len(items)


def _subject(subject: str) -> tuple[str, Tokens]:
    """What a subject of telemetry says it holds, and its tokens from the domain on."""
    kind, _, rest = subject.partition(".ingested.")
    return kind, tuple(rest.split("."))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float, bool))


def _explain(error: ValidationError) -> str:
    """The first problem in words: where, what, what kind was given (the value itself may be personal)."""
    where, what, given = first_problem(error)
    return f"{where}: {what}, got {type(given).__name__}"[:500]
