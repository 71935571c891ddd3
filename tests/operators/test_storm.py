import pickle
import random
from datetime import timedelta
from typing import Any

import pytest

from operators.detect.log_series import LogFinding, LogRules, LogSeries
from operators.detect.rate import RateRule
from operators.detect.storm import LogStorms, StormFinding
from operators.detect.templates import Template, TemplateRule
from schemas.base import Level
from schemas.telemetry import LogMessage
from tests.bench.log_lines import NAMES, CapturesMissing, captures_dir, read_lines
from tests.support.make import at, line

RULE = RateRule(warmup_windows=60)
RULES = LogRules(TemplateRule(warmup=timedelta(hours=1), warmup_lines=100), RULE, max_series=10_000)
HOUR = 3600.0
NAMES_OF = {0: "(other)", 1: "job done", 2: "link flapped", 3: "disk slow"}


def storms(rule: RateRule = RULE, max_series: int = 1000) -> LogStorms:
    return LogStorms(
        rule, lambda number: Template(number, NAMES_OF[number], f"{number:016x}", 1), max_series=max_series
    )


def feed(watch: LogStorms, seconds: float, level: str = "info", template: int = 1, **where: Any) -> list[StormFinding]:
    """One line, with the deadlines before it."""
    out = []
    while (deadline := watch.deadline) is not None and deadline <= at(seconds):
        out += watch.due(deadline)
    ts = at(where.pop("ts", seconds))
    found = watch.add(where.get("device", "gw-1"), where.get("service", "sshd"), level, template, ts, at(seconds))
    return [*out, found] if found else out


def quiet_hours(watch: LogStorms, hours: float = 2.0, **where: Any) -> None:
    """About two lines a minute."""
    draw = random.Random(4)
    for second in sorted(draw.uniform(0, hours * HOUR) for _ in range(int(120 * hours))):
        assert feed(watch, second, **where) == []


def burst(watch: LogStorms, start: float, lines: int, seconds: float, **line: Any) -> list[StormFinding]:
    return [found for n in range(lines) for found in feed(watch, start + seconds * n / lines, **line)]


def test_a_storm_is_one_finding_that_names_what_grew_with_counts_before_and_now() -> None:
    watch = storms()
    quiet_hours(watch)
    found = burst(watch, 2 * HOUR, 2000, 120.0, level="error", template=2)
    assert [(each.state, each.origin, each.level, each.template.text) for each in found] == [
        ("firing", ("gw-1", "sshd"), "error", "link flapped")
    ]
    storm = found[0]
    assert (storm.now, storm.level_now) == (20, 20)
    assert storm.before < 0.1
    assert storm.level_before < 0.1
    assert storm.at < at(2 * HOUR + 2)
    assert 0.5 <= storm.score < 1.0
    assert "20 error lines within 1 s, usually" in storm.msg
    assert "20 lines, usually" in storm.msg
    assert storm.msg.endswith(": link flapped")


def test_it_clears_when_all_that_grew_has_been_calm_for_three_windows() -> None:
    watch = storms()
    quiet_hours(watch)
    burst(watch, 2 * HOUR, 2000, 120.0, level="error", template=2)
    cleared = []
    while watch.deadline is not None:
        cleared += watch.due(watch.deadline)
    (over,) = cleared
    assert (over.state, over.lines, over.since) == ("cleared", 1981, at(2 * HOUR + 19 * 0.06))
    assert over.at == at(2 * HOUR + 120 + 3 * 60 + RULE.grace_s)
    assert burst(watch, 3 * HOUR, 40, 30.0, level="error", template=2) == []


def test_many_kinds_that_grow_together_are_one_finding() -> None:
    watch = storms()
    quiet_hours(watch)
    found = [
        each
        for n in range(3000)
        for each in feed(watch, 2 * HOUR + n / 30, level=("error", "warn", "info")[n % 3], template=1 + n % 3)
    ]
    assert [each.state for each in found] == ["firing"]


def test_when_only_the_level_grew_the_template_that_grew_most_is_named() -> None:
    watch = storms(RateRule(warmup_windows=60, min_count=30))
    for minute in range(180):
        for n in range(20):
            assert feed(watch, 60.0 * minute + n, level="info", template=1) == []
    found = [each for n in range(60) for each in feed(watch, 3 * HOUR + n / 10, template=(1, 2, 3, 3)[n % 4])]
    assert [(each.template.text, each.level) for each in found] == [("disk slow", "info")]
    assert found[0].level_before == pytest.approx(20.0, rel=0.05)


def test_a_new_service_may_talk_as_it_likes_at_first_but_an_old_one_may_not() -> None:
    watch = storms()
    assert burst(watch, 0.0, 5000, 60.0, level="critical", template=3) == []
    quiet_hours(watch, device="gw-2")
    assert burst(watch, 2 * HOUR, 500, 60.0, level="error", template=2, device="gw-3") == []
    assert len(burst(watch, 2.1 * HOUR, 500, 60.0, level="error", template=2, device="gw-2")) == 1


def test_chatter_small_beside_its_level_is_no_storm() -> None:
    watch = storms()
    for minute in range(120):
        for n in range(400):
            feed(watch, 60.0 * minute + n / 8, template=1)
    small = [each for n in range(60) for each in feed(watch, 2 * HOUR + n, template=2)]
    assert small == []


def test_late_lines_are_counted_not_judged() -> None:
    watch = storms()
    quiet_hours(watch)
    before = watch.snapshot()
    assert burst(watch, 2 * HOUR, 500, 10.0, ts=HOUR) == []
    assert watch.counts["late"] == 500
    assert watch.snapshot() == before


def test_a_window_takes_lines_until_log_time_has_passed_its_end_and_the_grace() -> None:
    watch = storms()
    feed(watch, 69.999, ts=59.0)
    assert watch.counts["late"] == 0
    feed(watch, 70.0, ts=59.0)
    assert watch.counts["late"] == 1


def test_a_time_in_the_future_counts_as_now() -> None:
    watch = storms()
    quiet_hours(watch)
    feed(watch, 2 * HOUR, ts=1e9)
    assert watch.counts["late"] == 0
    assert feed(watch, 2 * HOUR + 1) == []


def test_series_are_bounded_and_the_silent_are_forgotten() -> None:
    watch = storms(max_series=10)
    for n in range(20):
        feed(watch, float(n), device=f"d{n}")
    assert (len(watch), watch.counts["rate_cap"]) == (10, 30)
    feed(watch, 2 * HOUR, device="d0")
    watch.expire(at(HOUR))
    assert len(watch) == 2
    feed(watch, 2 * HOUR + 1, device="d19")
    assert len(watch) == 4


def test_history_stands_in_for_the_warm_up() -> None:
    watch = storms()
    watch.teach(("gw-1", "sshd"), "error", at(-10 * HOUR), [2] * 600)
    watch.teach(("gw-1", "sshd"), 2, at(-10 * HOUR), [2] * 600)
    (found,) = burst(watch, 60.0, 100, 30.0, level="error", template=2)
    assert found.before == pytest.approx(2.0, abs=0.1)
    with pytest.raises(ValueError, match="gw-1/sshd: it has been seen live"):
        watch.teach(("gw-1", "sshd"), "error", at(-10 * HOUR), [2] * 600)


def test_what_is_taught_is_what_would_have_been_learnt() -> None:
    draw = random.Random(6)
    counts = [draw.choice((0, 0, 0, 1, 3, 12)) for _ in range(600)]
    taught, lived = storms(), storms()
    taught.teach(("gw-1", "sshd"), "error", at(0), counts)
    taught.teach(("gw-1", "sshd"), 2, at(0), counts)
    for minute, count in enumerate(counts):
        for n in range(count):
            assert feed(lived, 60.0 * minute + n, level="error", template=2) == []
    (told,) = burst(taught, 10 * HOUR, 100, 30.0, level="error", template=2)
    (seen,) = burst(lived, 10 * HOUR, 100, 30.0, level="error", template=2)
    assert (told.now, told.level_now) == (seen.now, seen.level_now)
    assert told.before == pytest.approx(seen.before, rel=0.05)
    assert told.level_before == pytest.approx(seen.level_before, rel=0.05)


def test_what_is_taught_is_forgotten_after_its_last_line_not_its_first() -> None:
    watch = storms()
    watch.teach(("gw-1", "sshd"), "error", at(-10 * HOUR), [2] * 590)
    watch.expire(at(-HOUR))
    assert len(watch) == 1
    watch.expire(at(0))
    assert len(watch) == 0
    assert watch.snapshot()["origins"] == []


def story() -> list[LogMessage]:
    """Calm, a new kind of line, a storm, calm, another storm on another device."""
    draw = random.Random(8)
    told = [(draw.uniform(0, 4 * HOUR), "info", f"job {draw.randrange(99)} done", "gw-1") for _ in range(500)]
    told += [(draw.uniform(0, 4 * HOUR), "warn", "battery low", "gw-2") for _ in range(50)]
    told += [(2 * HOUR + n / 20, "error", f"link {n} flapped", "gw-1") for n in range(400)]
    told += [(2.5 * HOUR + n, "warn", f"fan {n} stopped turning at all", "gw-1") for n in range(10)]
    told += [(3 * HOUR + n / 20, "warn", f"disk {n} is slow", "gw-2") for n in range(400)]
    return [line(seconds, msg, level=Level(level), device_id=device) for seconds, level, msg, device in sorted(told)]


def run(series: LogSeries, lines: list[LogMessage]) -> list[LogFinding]:
    return [found for each in lines for found in series.observe(each, each.observed_at)]


def test_the_story_is_told() -> None:
    found = run(LogSeries(RULES), story())
    kinds = [(each.state, type(each).__name__, each.template.text) for each in found]
    assert ("firing", "StormFinding", "link <num> flapped") in kinds
    assert ("cleared", "StormFinding", "link <num> flapped") in kinds
    assert ("firing", "TemplateFinding", "fan <num> stopped turning at all") in kinds
    assert ("cleared", "TemplateFinding", "fan <num> stopped turning at all") in kinds
    assert ("firing", "StormFinding", "disk <num> is slow") in kinds
    assert [each.at for each in found] == sorted(each.at for each in found)


@pytest.mark.parametrize("cut", [0, 100, 288, 300, 420, 600, 700, 705, 712, 900, 1359])
def test_resuming_equals_never_stopping(cut: int) -> None:
    lines = story()
    whole, first = LogSeries(RULES), LogSeries(RULES)
    expected = run(whole, lines)
    before = run(first, lines[:cut])
    saved = first.snapshot()
    kept = pickle.dumps(saved)
    run(first, lines[cut:])
    assert pickle.dumps(saved) == kept
    second = LogSeries.restored(RULES, pickle.loads(kept))
    assert before + run(second, lines[cut:]) == expected
    assert second.snapshot() == whole.snapshot()
    assert second.deadline == whole.deadline


def test_ticks_in_between_change_nothing_but_who_serves_the_deadline() -> None:
    lines = story()
    expected = run(LogSeries(RULES), lines)
    ticked, out = LogSeries(RULES), []
    for each in lines:
        out += ticked.due(each.observed_at - timedelta(seconds=1))
        out += ticked.observe(each, each.observed_at)
    assert out == expected


def test_snapshots_of_another_version_are_refused() -> None:
    saved = LogSeries(RULES).snapshot()
    for bad in ({**saved, "v": 9}, {**saved, "storms": {**saved["storms"], "v": 9}}):
        with pytest.raises(ValueError, match="snapshot version 9, expected 1; start afresh"):
            LogSeries.restored(RULES, bad)


@pytest.mark.parametrize("name", NAMES)
def test_real_lines_give_few_findings_and_the_same_after_a_restart(name: str) -> None:
    try:
        lines = read_lines(captures_dir(), name)
    except CapturesMissing as missing:
        pytest.skip(str(missing))
    shipped = LogRules(TemplateRule(), RateRule(), max_series=10_000)
    whole, first = LogSeries(shipped), LogSeries(shipped)
    expected = run(whole, lines)
    assert len(expected) <= 40
    before = run(first, lines[:1000])
    second = LogSeries.restored(shipped, pickle.loads(pickle.dumps(first.snapshot())))
    assert before + run(second, lines[1000:]) == expected
    assert second.snapshot() == whole.snapshot()


def test_a_clock_set_back_an_hour_takes_the_windows_with_it() -> None:
    watch = storms()
    quiet_hours(watch, 3.0)
    [fired] = burst(watch, 3 * HOUR, 300, 60.0, level="error", template=2)
    assert fired.state == "firing"
    now = 2 * HOUR + 60
    watch.rewind(at(now))
    after = [found for n in range(20) for found in feed(watch, now + 30.0 * n)]
    assert [each.state for each in after] == ["cleared"]  # after its calm windows, not an hour later
    assert after[0].at <= at(now + 400)
    again = burst(watch, now + 700, 300, 60.0, level="error", template=3)
    assert [each.state for each in again] == ["firing"]
    assert watch.counts == {}
    watch.rewind(at(now + 800))  # nothing lies ahead: nothing moves
    assert feed(watch, now + 801) == []
