"""The log lines of a slot, as timelines: what is said of them, of which situation, how bad, and where the rows are."""

import json
import pickle
import random
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from bytewax.testing import TestingSource

from operators.correlate.classify import classify
from operators.detect.lines import LineTable
from operators.detect.log_history import CountedLines, KnownForm, LogHistory, ShipHistory
from operators.enrich import Enricher
from operators.mask import template_hash
from operators.observability import configure_logging
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected, ContextData
from schemas.base import Severity
from schemas.event import Event
from schemas.telemetry import LogMessage
from tests.support.flow import run_vessel
from tests.support.make import at, event, line, raw, tick

SHIPPED = load_policy(None)
HOUR = 3600.0
DISK = "disk sda1 is slow, 812 ms"


def table(policy: PolicySet = SHIPPED, **options: Any) -> LineTable:
    return LineTable(policy, max_series=1000, **options)


def feed(lines: LineTable, events: Iterable[Event]) -> list[AnomalyDetected]:
    found = []
    for each in events:
        body = each.body
        for out in lines.take(each, body) if isinstance(body, LogMessage) else lines.tick(each):
            assert isinstance(out.body, AnomalyDetected)
            found.append(out.body)
    return found


def told(found: Iterable[AnomalyDetected]) -> list[tuple[str, str, str]]:
    return [(each.detector, each.state, each.fields.get("template", "")) for each in found]


def said(seconds: float, msg: str, level: str = "info", **fields: Any) -> Event:
    known = {"domain": "app", "service": "erp", "device_id": "srv-1"}
    return event(line(seconds, msg, level=level, **{**known, **fields}))


def usual(hours: float, start: float = 0.0, **fields: Any) -> Iterator[Event]:
    """Twenty lines a minute of three kinds, in order."""
    draw = random.Random(5)
    for n in range(int(hours * 1200)):
        kind = ("job {} done", "page {} served to 10.0.0.{}", "cache holds {} entries")[n % 3]
        yield said(start + 3.0 * n + draw.random(), kind.format(draw.randrange(999), draw.randrange(255)), **fields)


def burst(start: float, count: int, msg: str, level: str, **fields: Any) -> list[Event]:
    return [said(start + n / 10, msg.format(n), level, **fields) for n in range(count)]


def situation(found: AnomalyDetected) -> tuple[str, Severity]:
    enriched = Enricher(SHIPPED.default.correlate.severity.score_map).enrich(found, ContextData())
    return classify(enriched, SHIPPED.default).incident_type, enriched.severity


def test_bursts_of_rare_levels_at_start_up_do_not_fire() -> None:
    boot = [*burst(1.0, 300, "unit {} failed to start", "error"), *burst(40.0, 50, "fan {} lost", "critical")]
    later = [*usual(0.9, start=60.0), *burst(0.95 * HOUR, 300, "unit {} failed again", "error")]
    lines = table()
    assert feed(lines, [*boot, *later]) == []
    assert lines.take_counts()["template_warmup"] == 3


def test_silence_counts_as_zero() -> None:
    """40 lines a minute are usual where they always come, and a storm after a day of silence."""
    for gap_h, expected in ((0.0, []), (24.0, [("storm", "firing", "sync <num> done")])):
        busy = [said(1.5 * n, f"sync {n} done") for n in range(4800)]
        again = [said(2 * HOUR + gap_h * HOUR + 1.5 * n, f"sync {n} done") for n in range(80)]
        changes = "rates: {half_life_s: 3600, peak_half_life_s: 3600}\n"
        assert told(feed(table(_policy(changes)), [*busy, *again])) == expected


def _policy(detect: str, _made: dict[str, PolicySet] = {}) -> PolicySet:  # noqa: B006 - a cache
    if detect not in _made:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            (Path(folder) / "detect.yaml").write_text(detect)
            _made[detect] = load_policy(Path(folder))
    return _made[detect]


def test_a_storm_is_one_finding_that_names_the_template_that_grew() -> None:
    storm = burst(2 * HOUR, 600, "disk sda1 is slow, {} ms", "error")
    calm = [tick(2 * HOUR + 60.0 * minute) for minute in range(2, 10)]
    found = feed(table(), [*usual(2), *storm, *calm])
    assert told(found) == [
        ("template", "firing", "disk sda<num> is slow, <num> ms"),
        ("storm", "firing", "disk sda<num> is slow, <num> ms"),
        ("storm", "cleared", "disk sda<num> is slow, <num> ms"),
        ("template", "cleared", "disk sda<num> is slow, <num> ms"),
    ]
    began = found[1]
    assert (began.anomaly_type, began.since, began.series) == (
        "log_rate",
        at(2 * HOUR + 1.9),
        "aurora/srv-1/erp/log:storm",
    )
    assert "20 error lines within" in began.msg
    assert [each.fields for each in found[1:3]] == [began.fields] * 2
    assert began.fields["template_hash"] == template_hash(DISK)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("app", "app_degradation"),
        ("system", "app_degradation"),
        ("security", "security_alert"),
        ("net", "network_issue"),
        ("comms", "link_degradation"),
    ],
)
def test_what_a_storm_speaks_of(domain: str, expected: str) -> None:
    lines = table()
    feed(lines, usual(2, domain=domain))
    found = feed(lines, burst(2 * HOUR, 60, "disk sda1 is slow, {} ms", "info", domain=domain))
    assert [(each.detector, situation(each)[0]) for each in found] == [("storm", expected)]


def test_a_storm_of_lines_that_a_pattern_knows_joins_the_patterns_situation() -> None:
    where: dict[str, Any] = {"domain": "security", "service": "sshd", "device_id": "gw-1"}
    lines = table()
    feed(lines, usual(2, **where))
    found = feed(lines, burst(2 * HOUR, 60, "Failed password for root from 10.0.{}.1 port 22", "error", **where))
    assert {each.detector for each in found} == {"pattern", "template", "storm"}
    assert {situation(each)[0] for each in found} == {"auth_attack"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [("info", []), ("warn", [Severity.LOW]), ("error", [Severity.MEDIUM]), ("critical", [Severity.HIGH])],
)
def test_a_line_never_seen_before_is_a_finding_from_warn_on_as_bad_as_its_level(
    level: str, expected: list[Severity]
) -> None:
    lines = table()
    feed(lines, usual(2))
    found = feed(lines, [said(2 * HOUR, DISK, level), said(2 * HOUR + 1, "job 7 done", level)])
    assert [situation(each)[1] for each in found] == expected
    assert [each.fields for each in found] == [
        {"template": "disk sda<num> is slow, <num> ms", "template_hash": template_hash(DISK)}
    ] * len(found)


def test_the_hash_of_a_storm_is_that_of_the_line_it_was_found_on_not_of_drains_template() -> None:
    """Drain's template covers several masked forms; rows are found by the one that is being written."""
    words = "pump {} stopped since its own watchdog fired on deck"
    lines = table()
    feed(lines, [said(-1.0, words.format("alpha"), "info"), *usual(2)])
    found = feed(lines, burst(2 * HOUR, 60, words.format("bravo") + " {}", "info"))
    assert found == [] or found[0].fields["template_hash"] == template_hash(words.format("bravo") + " 1")
    found = feed(lines, burst(2.1 * HOUR, 60, words.format("charlie"), "info"))
    (storm,) = [each for each in found if each.state == "firing"]
    assert storm.fields["template"] == words.format("<*>")
    assert storm.fields["template_hash"] == template_hash(words.format("charlie"))


def test_a_restart_changes_nothing_and_a_state_of_before_the_new_fields_is_taken() -> None:
    events = [*usual(2), *burst(2 * HOUR, 200, "disk sda1 is slow, {} ms", "error"), tick(3 * HOUR)]
    whole = feed(table(), events)
    assert [each.state for each in whole] == ["firing", "firing", "cleared", "cleared"]
    for cut in (2300, 2401, 2450, 2600):
        first, second = table(), table()
        before = feed(first, events[:cut])
        second.restore(pickle.loads(pickle.dumps(first.snapshot())))
        assert before + feed(second, events[cut:]) == whole
    old = pickle.loads(pickle.dumps(first.snapshot()))
    old["causes"] = {name: cause[:3] for name, cause in old["causes"].items()}
    for ship in old["ships"].values():
        ship["storms"]["origins"] = [(*origin[:5], origin[5] and origin[5][:4]) for origin in ship["storms"]["origins"]]
    third = table()
    third.restore(old)
    assert told(feed(third, events[2600:])) == told(whole[2:])


def known(*, first: float = -20 * HOUR, until: float = 0.0) -> LogHistory:
    """Ten hours of history, as the archive would tell it: 30 jobs a minute, and a warning now and then."""
    window = int(at(until).timestamp()) // 60
    job, warning = template_hash("job 1 done"), template_hash("battery 3 low")
    forms = (KnownForm(job, "job 1 done", 18_000, at(first)), KnownForm(warning, "battery 3 low", 10, at(first)))
    counts = (
        CountedLines("srv-1", "erp", "info", job, tuple((window - n, 30) for n in range(600, 0, -1))),
        CountedLines("srv-1", "erp", "warn", warning, ((window - 300, 1),)),
    )
    return {"aurora": ShipHistory(forms, 60, counts)}


FRESH = [
    *[said(1.0 + n, f"job {n} done") for n in range(30)],
    said(40.0, "battery 7 low", "warn"),
    said(41.0, DISK, "error"),
    *burst(50.0, 90, "battery {} low", "warn"),
]


def test_a_warm_start_knows_what_history_knows_and_judges_at_once() -> None:
    found = feed(table(history=known()), FRESH)
    assert told(found) == [
        ("template", "firing", "disk sda<num> is slow, <num> ms"),
        ("storm", "firing", "battery <num> low"),
    ]
    assert "usually none" in found[1].msg
    assert feed(table(), FRESH) == []


def test_steady_lines_are_no_storm_after_a_warm_start() -> None:
    """The rates of templates are taught as well as those of levels: else their usual count would be zero."""
    assert feed(table(history=known()), [said(2.0 * n, f"job {n} done") for n in range(1800)]) == []


def test_history_is_only_what_was_before_the_first_line_of_the_log() -> None:
    """A backlog is judged as it was when it was new: later forms and windows are no history for it."""
    later = known(first=30.0, until=2 * HOUR)
    assert feed(table(history=later), FRESH) == []
    ship = known()["aurora"]
    storm_to_come = ((int(at(0).timestamp()) // 60 + 90, 5000),)
    counts = tuple(each._replace(windows=each.windows + storm_to_come) for each in ship.counts)
    found = feed(table(history={"aurora": ship._replace(counts=counts)}), FRESH)
    assert told(found) == told(feed(table(history=known()), FRESH))


def test_rates_are_not_taught_where_a_form_is_not_known() -> None:
    """The level's usual count would be known and the template's taken for zero: a storm that is none."""
    ship = known()["aurora"]
    forms = tuple(form for form in ship.forms if form.example != "job 1 done")
    steady = [said(2.0 * n, f"job {n} done") for n in range(1800)]
    assert feed(table(history={"aurora": ship._replace(forms=forms)}), steady) == []


def test_a_ship_with_state_or_without_history_learns_nothing_from_it() -> None:
    first = table()
    feed(first, FRESH[:1])
    second = table(history=known())
    second.restore(first.snapshot())
    assert feed(second, FRESH[1:]) == []
    assert feed(table(history={"other": known()["aurora"]}), FRESH) == []


def test_history_beyond_the_cap_is_left_out_and_not_counted_as_lines() -> None:
    lines = table(_policy("templates: {max: 100}\n"), history=_many(150))
    feed(lines, [said(1.0, "job 1 done")])
    assert len(lines._ships["aurora"].templates) == 100
    assert lines.take_counts() == {"template_cap": 1}


def _many(count: int) -> LogHistory:
    examples = [f"{'x' * (n + 1)} happened" for n in range(count)]
    forms = tuple(KnownForm(template_hash(each), each, 9, at(-HOUR)) for each in examples)
    return {"aurora": ShipHistory(forms, 60, ())}


@pytest.fixture
def logged() -> Iterator[StringIO]:
    out = StringIO()
    configure_logging("warning", "json", out)
    yield out
    structlog.reset_defaults()


def test_a_cap_is_told_once_a_ship_with_the_policy_that_sets_it(logged: StringIO) -> None:
    body = {"domain": "app", "service": "erp", "device_id": "srv-1", "level": "info"}
    messages = [
        raw(n + 1, "logs.ingested.app.erp", {**body, "ts": at(n + 1).isoformat(), "msg": f"{'x' * (n + 1)} happened"})
        for n in range(150)
    ]
    run_vessel(TestingSource(messages, 20), policy=_policy("templates: {max: 100}\n"))
    told_of = [json.loads(text) for text in logged.getvalue().splitlines()]
    assert [(each["event"], each["ship_id"], each["cap"], each["policy"]) for each in told_of] == [
        ("log lines beyond a cap are counted, not judged", "aurora", "template_cap", "detect.templates.max")
    ]
