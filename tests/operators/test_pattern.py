from typing import Any

import pytest

from operators.detect.pattern import PatternMatcher, PatternRule
from operators.detect.pattern_series import Hit, PatternSeries, PatternTiming, Report
from schemas.base import Level, Severity
from tests.support.make import at, line

RULES = [
    PatternRule(
        "auth",
        (r"failed password for (?P<user>\S+) from (?P<rhost>\S+)", r"bad user (?P<user>\S+)"),
        "auth_attack",
        Severity.HIGH,
    ),
    PatternRule("auth2", (r"rhost=(?P<rhost>\S+)",), "auth_attack", Severity.HIGH),
    PatternRule("net_only", (r"link down",), None, Severity.LOW, domain="net", service="rt*", min_level=Level.WARN),
    PatternRule("disk", (r"(?:disk|device) full",), "resource_pressure", Severity.HIGH),
]


def found(text: str, **fields: Any) -> tuple[str, dict[str, str]] | None:
    match = PatternMatcher(RULES).match(line(0, text, **fields))
    return (match.rule.name, match.fields) if match else None


def test_named_groups_become_fields_though_patterns_share_their_names() -> None:
    assert found("Failed password for root from 10.0.0.1 port 22") == ("auth", {"user": "root", "rhost": "10.0.0.1"})
    assert found("failure; rhost=10.0.0.2 user=x") == ("auth2", {"rhost": "10.0.0.2"})
    assert found("bad user eve") == ("auth", {"user": "eve"})
    assert found("all is well") is None


def test_a_pattern_applies_to_its_domain_service_and_level_only() -> None:
    net = {"domain": "net", "service": "rt-1", "level": "error"}
    assert found("LINK DOWN", **net) == ("net_only", {})
    assert found("link down", **{**net, "domain": "app"}) is None
    assert found("link down", **{**net, "service": "switch"}) is None
    assert found("link down", **{**net, "level": "info"}) is None


def test_what_a_group_held_is_capped() -> None:
    match = found("rhost=" + "x" * 1000)
    assert match is not None
    assert len(match[1]["rhost"]) == 256


TIMING = PatternTiming(burst=2, repeat=at(10) - at(0), clear=at(60) - at(0))


def hit(seconds: float) -> Hit:
    return Hit(f"id-{seconds}", at(seconds), {}, f"line {seconds}")


def play(seconds: list[float]) -> list[Report]:
    """Feed hits, serving deadlines before them as the slot does."""
    series = PatternSeries(TIMING, hit(seconds[0]), at(seconds[0]))
    out = []
    for second in seconds:
        while series.deadline <= at(second):
            out.append(series.due(series.deadline))
            if out[-1].cleared:
                return out
        report = series.hit(hit(second), at(second))
        if report:
            out.append(report)
    return out


def test_the_first_lines_are_reported_at_once_the_rest_together() -> None:
    reports = play([0, 1, 2, 3, 4, 30])
    assert [(report.at, report.lines) for report in reports] == [(at(0), 1), (at(1), 1), (at(10), 3), (at(30), 1)]
    assert reports[2].refs == ("id-2", "id-3", "id-4")
    assert reports[2].hit == hit(2)


def test_a_lasting_storm_gives_one_report_a_period() -> None:
    reports = play([second / 10 for second in range(600)])
    assert [report.at for report in reports] == [at(0), at(0.1), at(10), at(20), at(30), at(40), at(50)]
    assert sum(report.lines for report in reports) == 500
    assert all(len(report.refs) <= 100 for report in reports)


def test_quiet_clears_and_says_since_when() -> None:
    series = PatternSeries(TIMING, hit(0), at(0))
    series.hit(hit(0), at(0))
    assert series.deadline == at(60)
    report = series.due(series.deadline)
    assert (report.cleared, report.at, report.since, report.hit) == (True, at(60), at(0), hit(0))


@pytest.mark.parametrize("cut", range(8))
def test_resuming_equals_never_stopping(cut: int) -> None:
    seconds = [0.0, 1, 2, 3, 11, 12, 25, 26]

    def feed(series: PatternSeries, part: list[float]) -> list[Any]:
        out: list[Any] = []
        for second in part:
            while series.deadline <= at(second):
                out.append(series.due(series.deadline))
            out.append(series.hit(hit(second), at(second)))
        return out

    whole = PatternSeries(TIMING, hit(0), at(0))
    expected = feed(whole, seconds)
    first = PatternSeries(TIMING, hit(0), at(0))
    before = feed(first, seconds[:cut])
    saved = first.snapshot()
    first.hit(hit(99), at(99))
    second = PatternSeries.restored(TIMING, saved)
    assert before + feed(second, seconds[cut:]) == expected
    assert second.snapshot() == whole.snapshot()
