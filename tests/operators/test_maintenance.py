"""Maintenance windows: when they are open, in zones whose clocks jump, checked minute by minute."""

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.correlate.maintenance import Maintenance
from operators.correlate.matchers import Scope, Subject
from policy import load_policy
from policy.maintenance import MAX_UNBROKEN, MaintenanceWindow
from policy.recurrence import instant, recurrence
from tests.support.make import START
from tests.support.ship import POLICY, Ship, fires

DAY = datetime.fromisoformat("2026-01-05T00:00:00")
OSLO, NEW_YORK = "Europe/Oslo", "America/New_York"


def window(rrule: str, hours: float = 1, timezone: str = OSLO, **fields: Any) -> MaintenanceWindow:
    known = {
        "match": {"device_id": "gw-1"},
        "start": "2026-01-01T02:00:00",
        "duration_s": hours * 3600,
        "owner": "eva",
        "reason": "updates",
    }
    return MaintenanceWindow.model_validate({**known, "rrule": rrule, "timezone": timezone, **fields})


def openings(policy: MaintenanceWindow, since: str, until: str) -> list[str]:
    """What opens and closes between two days, in UTC: day and time of each."""
    maintenance = Maintenance({"w": policy})
    at, end = utc(since), utc(until)
    out = []
    change = maintenance.next_change(at)
    while change is not None and change < end:
        for each in maintenance.active(change):
            out.append(f"{each.since:%m-%d %H:%M}-{each.until:%m-%d %H:%M}")
        change = maintenance.next_change(change)
    return out


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_weekly_window_in_local_time() -> None:
    policy = window("FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0")
    maintenance = Maintenance({"weekly": policy})
    assert maintenance.active(utc("2026-01-04T00:59:59")) == []
    (found,) = maintenance.active(utc("2026-01-04T01:00:00"))
    assert (found.name, found.policy, found.since, found.until) == (
        "weekly",
        policy,
        utc("2026-01-04T01:00:00"),
        utc("2026-01-04T02:00:00"),
    )
    assert maintenance.active(utc("2026-01-04T01:59:59")) == [found]
    assert maintenance.active(utc("2026-01-04T02:00:00")) == []
    assert openings(policy, "2026-06-27", "2026-07-13") == [
        "06-28 00:00-06-28 01:00",
        "07-05 00:00-07-05 01:00",
        "07-12 00:00-07-12 01:00",
    ]


@pytest.mark.parametrize(
    ("timezone", "hour", "days", "expected"),
    [
        # 02:30 does not exist on the day of the jump: it begins when the clocks jump, and lasts an hour all the same.
        (OSLO, "2;BYMINUTE=30", ("2026-03-28", "2026-03-31"), ["28 01:30-02:30", "29 01:00-02:00", "30 00:30-01:30"]),
        (
            NEW_YORK,
            "2;BYMINUTE=30",
            ("2026-03-07", "2026-03-10"),
            ["07 07:30-08:30", "08 07:00-08:00", "09 06:30-07:30"],
        ),
        # 02:30 (New York 01:30) comes twice: the first time counts.
        (OSLO, "2;BYMINUTE=30", ("2026-10-24", "2026-10-27"), ["24 00:30-01:30", "25 00:30-01:30", "26 01:30-02:30"]),
        (
            NEW_YORK,
            "1;BYMINUTE=30",
            ("2026-10-31", "2026-11-03"),
            ["31 05:30-06:30", "01 05:30-06:30", "02 06:30-07:30"],
        ),
        # Before the jump: the hour is a real one, local clocks show 01:30 to 03:30, or 01:30 to 01:30.
        (OSLO, "1;BYMINUTE=30", ("2026-03-28", "2026-03-30"), ["28 00:30-01:30", "29 00:30-01:30", "29 23:30-00:30"]),
        # Right after it.
        (OSLO, "3;BYMINUTE=0", ("2026-03-28", "2026-03-31"), ["28 02:00-03:00", "29 01:00-02:00", "30 01:00-02:00"]),
    ],
)
def test_the_nights_when_clocks_jump(timezone: str, hour: str, days: tuple[str, str], expected: list[str]) -> None:
    policy = window(f"FREQ=DAILY;BYHOUR={hour}", timezone=timezone)
    found = [f"{each[3:11]}-{each[-5:]}" for each in openings(policy, *days)]
    assert found == expected


def test_two_starts_that_the_clocks_skip_are_one_opening() -> None:
    policy = window("FREQ=DAILY;BYHOUR=2;BYMINUTE=10,50", hours=0.25)
    assert openings(policy, "2026-03-29", "2026-03-30") == ["03-29 01:00-03-29 01:15"]
    assert len(openings(policy, "2026-03-30", "2026-03-31")) == 2


def test_a_window_lasts_real_seconds_across_a_jump() -> None:
    for day in ("2026-03-28", "2026-10-24"):
        policy = window("FREQ=DAILY;BYHOUR=22;BYMINUTE=0", hours=8)
        maintenance = Maintenance({"w": policy})
        (found,) = maintenance.active(utc(f"{day}T23:00:00"))
        assert found.until - found.since == timedelta(hours=8)


def test_across_midnight_and_the_new_year() -> None:
    policy = window("FREQ=WEEKLY;BYDAY=TH;BYHOUR=23;BYMINUTE=30", hours=2, timezone="UTC")
    maintenance = Maintenance({"w": policy})
    assert maintenance.active(utc("2026-12-31T23:29:00")) == []
    assert len(maintenance.active(utc("2026-12-31T23:59:59"))) == 1
    assert len(maintenance.active(utc("2027-01-01T01:29:59"))) == 1
    assert maintenance.active(utc("2027-01-01T01:30:00")) == []


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("COUNT=3", 3),
        ("UNTIL=20260103", 3),
        ("UNTIL=20260103T020000", 3),
        ("UNTIL=20260103T010000Z", 3),
        ("UNTIL=20260103T005959Z", 2),
        ("UNTIL=20260103T015959", 2),
    ],
)
def test_a_rule_that_ends(end: str, expected: int) -> None:
    policy = window(f"FREQ=DAILY;BYHOUR=2;BYMINUTE=0;{end}")
    assert len(openings(policy, "2025-12-31", "2026-03-01")) == expected
    maintenance = Maintenance({"w": policy})
    last = utc("2026-01-03T02:00:00") - timedelta(days=3 - expected)
    assert maintenance.next_change(last - timedelta(seconds=1)) == last
    assert maintenance.next_change(last) is None
    assert maintenance.active(last + timedelta(days=1000)) == []
    assert len(maintenance.active(last - timedelta(seconds=1))) == 1


def test_leap_day() -> None:
    policy = window("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", timezone="UTC", start="2026-02-28T12:00:00")
    maintenance = Maintenance({"w": policy})
    assert maintenance.next_change(utc("2026-03-01")) == utc("2028-02-29T12:00:00")
    assert maintenance.next_change(utc("2028-03-01")) == utc("2032-02-29T12:00:00")
    last_of_month = window("FREQ=MONTHLY;BYMONTHDAY=-1", timezone="UTC")
    assert openings(last_of_month, "2028-02-01", "2028-04-01") == ["02-29 02:00-02-29 03:00", "03-31 02:00-03-31 03:00"]


def test_the_last_sunday_of_a_month() -> None:
    policy = window("RRULE:FREQ=MONTHLY;BYDAY=-1SU", timezone="UTC")
    assert openings(policy, "2026-01-02", "2026-04-01") == [
        "01-25 02:00-01-25 03:00",
        "02-22 02:00-02-22 03:00",
        "03-29 02:00-03-29 03:00",
    ]


def test_weeks_begin_on_monday_unless_the_rule_says_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "firstweekday", lambda: calendar.SUNDAY)
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO"
    days = [each[:5] for each in openings(window(rule, timezone="UTC"), "2026-01-01", "2026-01-24")]
    assert days == ["01-04", "01-12", "01-18"]
    days = [each[:5] for each in openings(window(f"{rule};WKST=SU", timezone="UTC"), "2026-01-01", "2026-01-24")]
    assert days == ["01-11", "01-12"]


def test_what_the_rule_does_not_say_is_taken_from_the_start() -> None:
    policy = window("FREQ=WEEKLY", timezone="UTC", start="2026-01-07T04:20:00")
    assert openings(policy, "2026-01-01", "2026-01-15") == ["01-07 04:20-01-07 05:20", "01-14 04:20-01-14 05:20"]


def test_occurrences_that_overlap_or_touch_are_one_opening() -> None:
    policy = window("FREQ=DAILY;BYHOUR=1,2,4;BYMINUTE=0", hours=1, timezone="UTC")
    assert openings(policy, "2026-01-02", "2026-01-03") == ["01-02 01:00-01-02 03:00", "01-02 04:00-01-02 05:00"]
    policy = window("FREQ=DAILY;COUNT=5", hours=30, timezone="UTC")
    assert openings(policy, "2026-01-01", "2026-02-01") == ["01-01 02:00-01-06 08:00"]


def test_a_summer_without_a_break_ends_all_the_same() -> None:
    """Later than the first opening a rule may run on for longer than 92 days: it is cut, and still open."""
    policy = window("FREQ=DAILY;BYMONTH=1,5,6,7,8", hours=24, timezone="UTC", start="2026-01-30T00:00:00")
    maintenance = Maintenance({"w": policy})
    at = utc("2026-05-01T00:00:00")
    assert maintenance.next_change(utc("2026-04-30")) == at
    boundary = maintenance.next_change(at)
    assert boundary is not None
    assert boundary - at == MAX_UNBROKEN
    assert len(maintenance.active(boundary)) == 1
    assert maintenance.next_change(boundary) == utc("2026-09-01")


def test_time_may_go_back() -> None:
    maintenance = Maintenance({"w": window("FREQ=DAILY;BYHOUR=2;BYMINUTE=0", timezone="UTC")})
    inside, outside = utc("2026-01-05T02:30:00"), utc("2026-01-05T03:30:00")
    for _ in range(2):
        assert len(maintenance.active(inside)) == 1
        assert maintenance.active(outside) == []
        assert maintenance.active(utc("2027-01-05T03:30:00")) == []
    assert maintenance.next_change(utc("2025-01-01")) == utc("2026-01-01T02:00:00")


def test_without_windows_there_is_nothing() -> None:
    maintenance = Maintenance({})
    assert maintenance.active(utc("2026-01-01")) == []
    assert maintenance.next_change(utc("2026-01-01")) is None


def test_between_two_boundaries_the_rules_are_not_read() -> None:
    maintenance = Maintenance({f"w{n}": window("FREQ=DAILY;BYHOUR=2;BYMINUTE=0", timezone="UTC") for n in range(50)})
    at = utc("2026-01-05T00:00:00")
    for minute in range(24 * 60):
        maintenance.active(at + timedelta(minutes=minute))
        maintenance.next_change(at + timedelta(minutes=minute))
    assert maintenance.evaluations == 3


def test_it_holds_back_what_matches_and_names_the_window_that_lasts_longest() -> None:
    daily = "FREQ=DAILY;BYHOUR=2;BYMINUTE=0"
    maintenance = Maintenance(
        {
            "a": window(daily, 3, "UTC", match={"device_id": "gw-*"}),
            "b": window(daily, 1, "UTC"),
            "c": window(daily, 9, "UTC", match={"device_id": "srv-1"}),
        }
    )

    def ask(*devices: str, hour: int = 2) -> str | None:
        scopes = tuple(Scope(device, "routing") for device in devices)
        subject = Subject("aurora", "network_issue", "high", "net", "Network issue", scopes)
        found = maintenance.match(subject, utc(f"2026-01-05T{hour:02}:30:00"))
        return found.name if found else None

    assert (ask("gw-1"), ask("gw-2"), ask("srv-1"), ask("srv-2")) == ("a", "a", "c", None)
    assert ask("gw-1", "srv-1") is None
    assert (ask("gw-1", hour=1), ask("gw-1", hour=5), ask("srv-1", hour=5)) == (None, None, "c")


@given(
    st.lists(st.sampled_from(["gw-1", "gw-*", "*-1", "srv-1", "[gs]*"]), min_size=1, max_size=8),
    st.lists(st.sampled_from(["gw-1", "gw-2", "srv-1"]), min_size=1, max_size=2),
)
def test_of_many_open_windows_the_right_one_is_found(globs: list[str], devices: list[str]) -> None:
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=0"
    policies = {
        f"w{n}": window(rule, 1 + n % 3, "UTC", match={"device_id": glob}, start=DAY) for n, glob in enumerate(globs)
    }
    maintenance = Maintenance(policies)
    about = Subject("aurora", "x", "high", "net", "t", tuple(Scope(device, "routing") for device in devices))
    at = DAY.replace(hour=2, tzinfo=UTC)
    holding = [each for each in maintenance.active(at) if each.matchers.hold(about)]
    assert len(maintenance.active(at)) == len(globs)
    assert maintenance.match(about, at) == max(holding, key=lambda each: (each.until, each.name), default=None)


def test_a_ship_has_windows_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "maintenance.yaml").write_text(
        "windows:\n"
        "  weekly: {match: {device_id: gw-1}, rrule: FREQ=WEEKLY, start: 2026-01-04T02:00:00, duration_s: 3600,"
        " timezone: Europe/Oslo, owner: eva, reason: updates}\n"
    )
    (tmp_path / "policy.yaml").write_text(
        "ships:\n"
        "  aurora: {maintenance: {windows: {weekly: {timezone: America/New_York}}}}\n"
        "  borealis: {maintenance: {windows: {weekly: null}}}\n"
    )
    policy = load_policy(tmp_path)
    first = {
        ship: Maintenance(policy.for_ship(ship).maintenance.windows).next_change(utc("2026-01-01"))
        for ship in ("aurora", "borealis", "other")
    }
    assert first == {"aurora": utc("2026-01-04T07:00:00"), "borealis": None, "other": utc("2026-01-04T01:00:00")}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("FREQ=SECONDLY", "FREQ=SECONDLY: expected one of DAILY"),
        ("FREQ=HOURLY", "use FREQ=DAILY with BYHOUR and BYMINUTE"),
        ("BYHOUR=2", "FREQ=: expected one of DAILY"),
        ("", "'' is not known in a rule"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0: expected whole numbers from 1 to 1000"),
        ("FREQ=DAILY;COUNT=0", "COUNT=0"),
        ("FREQ=DAILY;COUNT=x", "COUNT=X"),
        ("FREQ=DAILY;INTERVAL=1,2", "INTERVAL=1,2"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR=24: expected whole numbers from 0 to 23"),
        ("FREQ=DAILY;BYMINUTE=60", "BYMINUTE=60"),
        ("FREQ=DAILY;BYSECOND=1", "'BYSECOND=1' is not known in a rule"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0: expected whole numbers from -31 to 31 but 0"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY=32"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH=13"),
        ("FREQ=WEEKLY;BYDAY=1MO", "a number goes with FREQ=MONTHLY or YEARLY only"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=WEEKLY;WKST=X", "WKST=X"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is given twice"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20270101", "COUNT and UNTIL exclude each other"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL=TOMORROW: expected for example 20261231"),
        ("FREQ=DAILY;UNTIL=20251231", "never comes true"),
        ("FREQ=MONTHLY;BYMONTH=2,4;BYMONTHDAY=31", "never comes true"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "never comes true"),
    ],
)
def test_a_bad_rule_says_what_is_wrong(rule: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        recurrence(rule, datetime.fromisoformat("2026-01-01T02:00:00"), "UTC")
    assert says in str(caught.value)


@pytest.mark.parametrize("start", ["2026-01-01T02:00:00.5", "1999-01-01T02:00:00", 7, "2026-01-01T02:00:00+01:00"])
def test_a_bad_start_is_refused(start: Any) -> None:
    with pytest.raises(ValidationError):
        window("FREQ=DAILY", start=start)


@pytest.mark.parametrize("timezone", [OSLO, NEW_YORK, "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"])
def test_local_times_in_order_are_instants_in_order(timezone: str) -> None:
    zone = ZoneInfo(timezone)
    year = [datetime.fromisoformat("2011-01-01") + timedelta(minutes=15 * n) for n in range(4 * 24 * 366)]
    instants = [instant(local, zone) for local in year]
    assert all(a <= b for a, b in pairwise(instants))
    for local, at in zip(year, instants, strict=True):
        shown = at.astimezone(zone).replace(tzinfo=None)
        assert shown >= local
        assert shown == local or (at - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None) < local


DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
CHANGES = [
    (OSLO, "2026-03-27"),
    (OSLO, "2026-10-23"),
    (NEW_YORK, "2026-03-06"),
    (NEW_YORK, "2026-10-30"),
    ("Australia/Lord_Howe", "2026-04-03"),
    ("Australia/Lord_Howe", "2026-10-02"),
    ("Asia/Kathmandu", "2026-12-30"),
]
SPECS = st.fixed_dictionaries(
    {
        "hours": st.sets(st.sampled_from([0, 1, 2, 3, 23]), min_size=1, max_size=3),
        "minutes": st.sets(st.sampled_from([0, 15, 30, 59]), min_size=1, max_size=2),
        "days": st.sets(st.sampled_from(range(7)), min_size=1),
        "duration": st.sampled_from([1, 30, 60, 61, 90, 240, 1500]),
    }
)


def starts_by_minutes(spec: dict[str, Any], zone: ZoneInfo, minutes: list[datetime]) -> Iterator[datetime]:
    """By the clock on the wall: each minute's new local times are compared with what was asked for."""
    shown = (minutes[0] - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
    for at in minutes:
        now = at.astimezone(zone).replace(tzinfo=None)
        while shown < now:
            shown += timedelta(minutes=1)
            if shown.hour in spec["hours"] and shown.minute in spec["minutes"] and shown.weekday() in spec["days"]:
                yield at


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CHANGES), st.lists(SPECS, min_size=1, max_size=3))
def test_every_change_is_where_the_clock_on_the_wall_says(change: tuple[str, str], specs: list[dict[str, Any]]) -> None:
    zone = ZoneInfo(change[0])
    begin = datetime.fromisoformat(change[1])
    first = begin.replace(tzinfo=zone).astimezone(UTC)
    minutes = [first + timedelta(minutes=n) for n in range(5 * 24 * 60)]
    expected: list[set[str]] = [set() for _ in minutes]
    policies = {}
    for number, spec in enumerate(specs):
        text = {name: ",".join(map(str, sorted(spec[name]))) for name in ("hours", "minutes")}
        days = ",".join(DAYS[day] for day in sorted(spec["days"]))
        end = f"{begin + timedelta(days=40):%Y%m%d}"
        rule = f"FREQ=WEEKLY;BYDAY={days};BYHOUR={text['hours']};BYMINUTE={text['minutes']};UNTIL={end}"
        policies[f"w{number}"] = window(rule, spec["duration"] / 60, change[0], start=begin)
        for at in starts_by_minutes(spec, zone, minutes):
            place = (at - first) // timedelta(minutes=1)
            for covered in expected[place : place + spec["duration"]]:
                covered.add(f"w{number}")
    maintenance = Maintenance(policies)
    found = [{each.name for each in maintenance.active(at)} for at in minutes]
    assert found == expected
    changes = [at for at, before, now in zip(minutes[1:], expected, expected[1:], strict=False) if before != now]
    walked = []
    following = maintenance.next_change(minutes[0])
    while following is not None and following <= minutes[-1]:
        walked.append(following)
        following = maintenance.next_change(following)
    assert walked == changes


def test_a_ship_hears_nothing_across_midnight_and_the_change_of_clocks_and_then_what_still_fires() -> None:
    """Backup from 23:30 in Oslo for four hours: on the night when clocks go back it ends at 02:30, shown twice."""
    backup = window("FREQ=DAILY;BYHOUR=23;BYMINUTE=30", hours=4, match={"rule": "disk_*"}, start="2026-10-20T23:30:00")
    maintenance = POLICY.maintenance.model_copy(update={"windows": {"backup": backup}})

    def night(*openings: str) -> dict[str, list[str]]:
        ship = Ship(POLICY.model_copy(update={"maintenance": maintenance}))
        for n, text in enumerate(openings):
            known = {"rule": "disk_high", "metric_name": "disk_pct", "series": f"s{n}"}
            ship.take(fires((utc(text) - START).total_seconds(), f"srv-{n}", "resource_pressure", **known))
            ship.restart()
        ship.until((utc("2026-10-25T12:00:00") - START).total_seconds())
        return {
            each.scope[0].device_id: [f"{when.at:%d %H:%M} {when.event}" for when in each.timeline]
            for each in ship.now.values()
        }

    told = night("2026-10-24T21:29:00", "2026-10-24T21:30:00", "2026-10-25T00:59:00", "2026-10-25T01:29:00")
    told |= {f"later-{name}": events for name, events in night("2026-10-25T01:30:00").items()}
    assert told == {
        "srv-0": ["24 21:29 created"],
        "srv-1": ["24 21:30 created", "25 01:30 surfaced"],
        "srv-2": ["25 00:59 created", "25 01:30 surfaced"],
        "srv-3": ["25 01:29 created", "25 01:30 surfaced"],
        "later-srv-0": ["25 01:30 created"],
    }
