"""When something recurs: an RFC 5545 rule in local time, as instants in UTC."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from dateutil.rrule import rrulestr

MAX_A_DAY: Final = 24
"""Starts a day that one rule may give."""

_SECOND = timedelta(seconds=1)
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_DAY = r"([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU)"
_WHOLE = {"INTERVAL": (1, 1000), "COUNT": (1, 100_000)}
_LISTS = {"BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYHOUR": (0, 23), "BYMINUTE": (0, 59), "BYSETPOS": (-366, 366)}
_PARTS = ("FREQ", *_WHOLE, "UNTIL", "WKST", "BYDAY", *_LISTS)
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Recurrence(NamedTuple):
    """A checked rule: its text without UNTIL, its first local time (no zone), its zone, its end if any.

    until: no start is later than this instant (UTC).
    """

    rule: str
    start: datetime
    zone: ZoneInfo
    until: datetime | None

    def starts(self) -> Iterator[datetime]:
        """Every start in UTC, earliest first, each by itself: the caller keeps its place.

        Local times decide. One that the clocks skip in spring starts at the moment they jump; one that
        they show twice in autumn starts the first time. Both keep the order.
        """
        for local in rrulestr(self.rule, dtstart=self.start):
            at = instant(local, self.zone)
            if self.until is not None and at > self.until:
                return
            yield at


def recurrence(rule: str, start: datetime, timezone: str) -> Recurrence:
    """Check a rule (RFC 5545, with or without "RRULE:"), its first local time and its IANA time zone.

    Known parts: FREQ (DAILY to YEARLY), INTERVAL, COUNT or UNTIL, WKST, BYMONTH, BYMONTHDAY, BYDAY,
    BYHOUR, BYMINUTE, BYSETPOS. Hour, minute and day that the rule does not say are those of start.

    Raises:
        ValueError: for a rule that is wrong, too dense or never comes true, or a zone that is not known.
    """
    zone = zone_of(timezone)
    parts = _parts(rule.upper().removeprefix("RRULE:"))
    _check_frequency(parts)
    until = _until(parts.pop("UNTIL"), zone) if "UNTIL" in parts else None
    text = ";".join(f"{name}={value}" for name, value in ({"WKST": "MO"} | parts).items())
    found = Recurrence(text, start, zone, until)
    if not _comes_true(found):
        raise ValueError(f"{rule} never comes true from {start.isoformat()} on, check its days, COUNT and UNTIL")
    return found


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name; raises ValueError that names the nearest known one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = get_close_matches(name, available_timezones(), 1)
        hint = f"did you mean {near[0]}?" if near else "give an IANA name such as Europe/Oslo or UTC"
        raise ValueError(f"no time zone {name!r}, {hint}") from error


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local time without zone.

    A time that is shown twice is its first showing; one that is skipped is the moment of the jump.

    >>> instant(datetime(2026, 3, 29, 2, 30), ZoneInfo("Europe/Oslo")).isoformat()
    '2026-03-29T01:00:00+00:00'
    """
    at = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if before >= at:
        return at
    offset = before.astimezone(zone).utcoffset()
    while at - before > _SECOND:
        middle = before + (at - before) // (2 * _SECOND) * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            at = middle
    return at


def _parts(rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in rule.rstrip(";").split(";"):
        name, _, value = piece.partition("=")
        if name not in _PARTS:
            raise ValueError(f"{piece or rule!r} is not known in a rule; there are {', '.join(_PARTS)}")
        if name in parts:
            raise ValueError(f"{name} is given twice, keep one")
        _check_value(name, value)
        parts[name] = value
    return parts


def _check_value(name: str, value: str) -> None:
    if name in _WHOLE or name in _LISTS:
        low, high = _WHOLE.get(name) or _LISTS[name]
        for number in value.split(",") if name in _LISTS else [value]:
            right = re.fullmatch(r"[+-]?\d{1,6}", number) is not None and low <= int(number) <= high
            if not right or (low < 0 and int(number) == 0):
                raise ValueError(f"{name}={value}: expected whole numbers from {low} to {high}" + " but 0" * (low < 0))
    elif name == "BYDAY" and not re.fullmatch(rf"{_DAY}(,{_DAY})*", value):
        raise ValueError(f"BYDAY={value}: expected days such as MO,SU or 1MO for the first Monday")
    elif name == "WKST" and not re.fullmatch(r"MO|TU|WE|TH|FR|SA|SU", value):
        raise ValueError(f"WKST={value}: expected a day such as MO")


def _check_frequency(parts: dict[str, str]) -> None:
    frequency = parts.get("FREQ", "")
    if frequency not in _FREQUENCIES:
        hint = "; for several starts a day use FREQ=DAILY with BYHOUR and BYMINUTE"
        raise ValueError(f"FREQ={frequency}: expected one of {', '.join(_FREQUENCIES)}{hint}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("COUNT and UNTIL exclude each other, keep one")
    if frequency in ("DAILY", "WEEKLY"):
        if "BYMONTHDAY" in parts:
            raise ValueError(f"BYMONTHDAY does not go with FREQ={frequency}, use FREQ=MONTHLY")
        if re.search(r"\d", parts.get("BYDAY", "")):
            raise ValueError(f"BYDAY={parts['BYDAY']}: a number goes with FREQ=MONTHLY or YEARLY only")
    a_day = len(set(parts.get("BYHOUR", "0").split(","))) * len(set(parts.get("BYMINUTE", "0").split(",")))
    if a_day > MAX_A_DAY:
        raise ValueError(f"{a_day} starts a day, at most {MAX_A_DAY}; use fewer hours and minutes and longer windows")


def _until(value: str, zone: ZoneInfo) -> datetime:
    """The last instant: with Z in UTC, else local; a date alone holds to its end."""
    for form, is_utc in (("%Y%m%dT%H%M%SZ", True), ("%Y%m%dT%H%M%S", False), ("%Y%m%d", False)):
        try:
            at = datetime.strptime(value, form)  # noqa: DTZ007
        except ValueError:
            continue
        if form == "%Y%m%d":
            at += timedelta(days=1) - _SECOND
        return at.replace(tzinfo=UTC) if is_utc else instant(at, zone)
    raise ValueError(f"UNTIL={value}: expected for example 20261231 or 20261231T235959Z")


@lru_cache(maxsize=1024)
def _comes_true(found: Recurrence) -> bool:
    """Whether there is a start at all; the days are looked at first, since dateutil would try until year 9999."""
    parts = dict(piece.split("=") for piece in found.rule.split(";"))
    if "BYMONTHDAY" in parts and "BYMONTH" in parts:
        longest = max(_LONGEST_MONTH[int(month) - 1] for month in parts["BYMONTH"].split(","))
        if min(abs(int(day)) for day in parts["BYMONTHDAY"].split(",")) > longest:
            return False
    return next(found.starts(), None) is not None
