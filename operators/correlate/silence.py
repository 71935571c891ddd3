"""One silence: what a person does not want to hear of for a while, who wants it, why and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from operators.correlate.matchers import Matchers, parse_matchers
from policy.maintenance import SilenceLimits
from schemas.base import to_utc

MAX_REASON = 1000
MAX_NAME = 256


class SilenceError(ValueError):
    """A silence that cannot be: str() says what is wrong and what to send."""


@dataclass(frozen=True, slots=True)
class Silence:
    """What it matches, who wants it and why, from when (included) until when (excluded), in log time.

    hits: how often it muted something. last_hit_at: when last.
    """

    silence_id: str
    matchers: Matchers
    owner: str
    reason: str
    starts_at: datetime
    expires_at: datetime
    hits: int = 0
    last_hit_at: datetime | None = None

    def is_active(self, at: datetime) -> bool:
        """Whether it mutes at this instant."""
        return self.starts_at <= at < self.expires_at

    def snapshot(self) -> dict[str, Any]:
        """The silence as plain data."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "matchers": dict(self.matchers.given)}

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Self:
        """The silence of a snapshot."""
        return cls(**{**saved, "matchers": Matchers(saved["matchers"])})


def parse_silence(
    args: Mapping[str, Any], *, silence_id: str, by: str, reason: str | None, now: datetime, limits: SilenceLimits
) -> Silence:
    """The silence that a command asks for, from now (log time) on.

    args: matchers, and either duration_s (seconds) or expires_at (ISO 8601 with zone).

    Raises:
        SilenceError: naming the argument, what was expected and what to send.
    """
    unknown = sorted(str(name) for name in args if name not in ("matchers", "duration_s", "expires_at"))
    if unknown:
        raise SilenceError(
            f"silence: args.{unknown[0][:40]} is not known; there are matchers, duration_s and expires_at"
        )
    owner = _text("by", by, MAX_NAME, "the name of the person who answers for it")
    why = _text("reason", reason, MAX_REASON, "why this need not be heard")
    try:
        matchers = parse_matchers(args.get("matchers"))
    except ValueError as error:
        raise SilenceError(f"silence: args.matchers: {error}") from error
    return Silence(silence_id, matchers, owner, why, now, _end(args, now, limits))


def _text(name: str, value: str | None, limit: int, wanted: str) -> str:
    text = (value or "").strip()
    if not text or len(text) > limit:
        raise SilenceError(f"silence: {name}: expected {wanted}, 1 to {limit} characters; got {len(text)}")
    return text


def _end(args: Mapping[str, Any], now: datetime, limits: SilenceLimits) -> datetime:
    duration, end = args.get("duration_s"), args.get("expires_at")
    if (duration is None) == (end is None):
        raise SilenceError("silence: args: expected either duration_s (seconds) or expires_at; a silence must end")
    longest = timedelta(seconds=limits.max_duration_s)
    if end is not None:
        lasts = _instant(end) - now
        if not timedelta() < lasts <= longest:
            raise SilenceError(
                f"silence: args.expires_at: expected a time after {now.isoformat()} and at most {longest} later, "
                f"got {end}; send an earlier end, or silence again when it is over"
            )
        return now + lasts
    if isinstance(duration, int | float) and not isinstance(duration, bool) and 1 <= duration <= limits.max_duration_s:
        return now + timedelta(seconds=duration)
    raise SilenceError(
        f"silence: args.duration_s: expected a number of seconds from 1 to {_span(limits.max_duration_s)}, "
        f"got {_span(duration)}; silence again when it is over"
    )


def _span(seconds: Any) -> str:
    """A number of seconds, in days as well where it is a day or more; anything else as it was written.

    >>> _span(31_536_000.0), _span(90), _span("60")
    ('31536000 (365 days)', '90', "'60'")
    """
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not abs(seconds) < 1e12:  # as it was written: also nan, and integers that no float holds
        return repr(str(seconds)[:40])
    days = f" ({seconds / 86_400:.4g} days)" if seconds >= 86_400 else ""
    return f"{seconds:.12g}{days}"


def _instant(value: Any) -> datetime:
    try:
        return to_utc(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except (TypeError, ValueError) as error:
        raise SilenceError(
            f"silence: args.expires_at: {str(error)[:100]}; send for example 2026-01-01T00:00:00Z"
        ) from error
