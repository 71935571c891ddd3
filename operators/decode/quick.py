"""The common sample and log line, read without the models' validators; everything else is left to those."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.base import DOMAINS, MAX_NAME, SCHEMA_VERSION, UUID_PATTERN, Level
from schemas.event import RawMessage
from schemas.identity import event_uuid
from schemas.telemetry import MAX_UNIT, LogMessage, MetricSample, trusted

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOG_KEYS: Final = frozenset(LogMessage.model_fields)
LEVELS: Final = {level.value: level for level in Level} | {
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
_DOMAINS: Final = frozenset(DOMAINS)
_IS_UUID = re.compile(UUID_PATTERN).fullmatch
_IS_UTC = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?:[0-9]{3}|[0-9]{6}))?Z", re.ASCII
).fullmatch
_EXACT: Final = 2**53
_TEXT: Final = {str}


KNOWN_NAMES: Final = 50_000
"""Names remembered as good; a ship has some thousand."""


class QuickReader:
    """Reads items whose every field is as it should be: what the models make of those, without asking them.

    Whole messages at a time, in one loop with everything in it: a call costs as much as two fields. State:
    names known to be good and the last text of a time, which change no result. ship_id stands where the
    sender names none; a time longer than past before its arrival is left to the model.
    """

    def __init__(self, ship_id: str, past: timedelta) -> None:
        self._ship_id = ship_id
        self._past = past
        self._names: set[str] = set()
        self._text: str | None = None
        self._ts = EARLIEST

    def samples(self, raw: RawMessage, items: list[Any], subject: tuple[str, ...]) -> list[MetricSample | None]:
        """A sample for each item, None where the model must decide; subject: its tokens from the domain on."""
        arrival, names, is_name = raw.observed_at, self._names, self._is_name
        default_domain, default_device = subject[0], subject[1] if len(subject) > 1 else None
        out: list[MetricSample | None] = [None] * len(items)
        if arrival.tzinfo is not UTC:
            return out
        earliest = max(EARLIEST, arrival - self._past)
        for index, item in enumerate(items):
            if type(item) is not dict:
                continue
            get = item.get
            ship_id, device_id, service, name = get("ship_id"), get("device_id"), get("service"), get("metric_name")
            value, unit, labels, text = get("metric_value"), get("unit"), get("labels"), get("ts")
            domain = get("domain", default_domain)
            ship_id = self._ship_id if ship_id is None else ship_id
            device_id = default_device if device_id is None else device_id
            ts = arrival if text is None else self._ts if text == self._text else self._time(text)
            tracking_id = get("tracking_id")
            if tracking_id is None:
                tracking_id = event_uuid(raw.identity, raw.sequence, index)
            elif type(tracking_id) is not str or not _IS_UUID(tracking_id):
                continue
            try:
                if not (
                    (service in names or is_name(service))
                    and (name in names or is_name(name))
                    and (device_id in names or is_name(device_id))
                    and (ship_id in names or is_name(ship_id))
                    and domain in _DOMAINS
                    and (unit is None or (type(unit) is str and len(unit) <= MAX_UNIT))
                ):
                    continue
            except TypeError:  # a list or an object where a name should be
                continue
            if type(value) is not float:
                if type(value) is not int or not -_EXACT <= value <= _EXACT:
                    continue
                value = float(value)
            if labels is None:
                labels = {}
            elif type(labels) is not dict or set(map(type, labels.values())) - _TEXT:
                continue
            if ts is None or value - value != 0.0 or not earliest <= ts <= arrival:
                continue
            out[index] = trusted(
                MetricSample,
                {
                    "schema_version": SCHEMA_VERSION,
                    "tracking_id": tracking_id,
                    "ship_id": ship_id,
                    "error_msg": None,
                    "ts": ts,
                    "observed_at": arrival,
                    "domain": domain,
                    "service": service,
                    "device_id": device_id,
                    "metric_name": name,
                    "metric_value": value,
                    "unit": unit,
                    "labels": labels,
                },
            )
        return out

    def lines(self, raw: RawMessage, items: list[Any], subject: tuple[str, ...]) -> list[LogMessage | None]:
        """The same for log lines; what has a meta of its own is left to the model."""
        arrival, names, is_name = raw.observed_at, self._names, self._is_name
        default_domain, default_service = subject[0], subject[1] if len(subject) > 1 else None
        out: list[LogMessage | None] = [None] * len(items)
        if arrival.tzinfo is not UTC:
            return out
        earliest = max(EARLIEST, arrival - self._past)
        for index, item in enumerate(items):
            if type(item) is not dict or "meta" in item:
                continue
            get = item.get
            ship_id, device_id, service = get("ship_id"), get("device_id"), get("service")
            msg, level, text = get("msg"), get("level", "info"), get("ts")
            domain = get("domain", default_domain)
            ship_id = self._ship_id if ship_id is None else ship_id
            service = default_service if service is None else service
            ts = arrival if text is None else self._ts if text == self._text else self._time(text)
            tracking_id = get("tracking_id")
            if tracking_id is None:
                tracking_id = event_uuid(raw.identity, raw.sequence, index)
            elif type(tracking_id) is not str or not _IS_UUID(tracking_id):
                continue
            try:
                if not (
                    (service in names or is_name(service))
                    and (device_id in names or is_name(device_id))
                    and (ship_id in names or is_name(ship_id))
                    and domain in _DOMAINS
                ):
                    continue
            except TypeError:
                continue
            if type(level) is not str or (known := LEVELS.get(level) or LEVELS.get(level.lower())) is None:
                continue
            if ts is None or type(msg) is not str or not earliest <= ts <= arrival:
                continue
            out[index] = trusted(
                LogMessage,
                {
                    "schema_version": SCHEMA_VERSION,
                    "tracking_id": tracking_id,
                    "ship_id": ship_id,
                    "error_msg": None,
                    "ts": ts,
                    "observed_at": arrival,
                    "domain": domain,
                    "service": service,
                    "device_id": device_id,
                    "level": known,
                    "msg": msg,
                    "meta": {} if item.keys() <= LOG_KEYS else {key: item[key] for key in item if key not in LOG_KEYS},
                },
            )
        return out

    def _is_name(self, text: Any) -> bool:
        """Whether it is a good name; remembered when it is."""
        if type(text) is not str or not 0 < len(text) <= MAX_NAME:
            return False
        if len(self._names) >= KNOWN_NAMES:
            self._names.clear()
        self._names.add(text)
        return True

    def _time(self, text: Any) -> datetime | None:
        """The time that a text in the usual form names."""
        if type(text) is not str or not _IS_UTC(text):
            return None
        try:
            self._ts = datetime.fromisoformat(text)
        except ValueError:
            return None
        self._text = text
        return self._ts
