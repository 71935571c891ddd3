import pickle
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from drain3.drain import Drain  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

import operators.detect.templates as module
from operators.detect.templates import OTHER, TemplateFinding, TemplateRule, Templates
from operators.mask import hash_of, masked
from schemas.base import Level
from tests.bench.log_lines import CapturesMissing, captures_dir, read_lines
from tests.support.make import at

HOUR = 3600.0
RULE = TemplateRule(warmup=timedelta(hours=1), warmup_lines=100)


def warm(rule: TemplateRule = RULE) -> Templates:
    """Templates that know three kinds of lines, from 1,000 lines in two hours."""
    templates = Templates(rule)
    for n in range(1000):
        templates.observe(
            ("job started", "job done in <num> s", "user logged in from <ip>")[n % 3], Level.INFO, at(7.2 * n)
        )
    return templates


def feed(templates: Templates, form: str, level: Level, seconds: float) -> list[TemplateFinding]:
    """One line, with the deadlines before it."""
    out = []
    while (deadline := templates.deadline) is not None and deadline <= at(seconds):
        out += templates.due(deadline)
    finding = templates.observe(form, level, at(seconds))[1]
    return [*out, finding] if finding else out


def test_a_kind_never_seen_before_is_news_and_clears_after_quiet() -> None:
    templates = warm()
    (fired,) = feed(templates, "engine caught fire", Level.ERROR, 2 * HOUR)
    assert (fired.state, fired.template.text, fired.at) == ("firing", "engine caught fire", at(2 * HOUR))
    assert fired.template.hash == hash_of("engine caught fire")
    assert 0.5 < fired.score <= 1.0
    assert "never seen before on this ship, in 1001 lines of 4 kinds since 2026-03-01 00:00:00 UTC" in fired.msg
    assert feed(templates, "engine caught fire", Level.ERROR, 2 * HOUR + 200) == []
    assert templates.deadline == at(2 * HOUR + 500)
    (cleared,) = templates.due(at(2 * HOUR + 500))
    assert (cleared.state, cleared.lines, cleared.since) == ("cleared", 2, at(2 * HOUR))
    assert templates.deadline is None
    assert feed(templates, "engine caught fire", Level.ERROR, 3 * HOUR) == []


def test_neither_a_known_kind_nor_a_mild_level_is_news() -> None:
    templates = warm()
    assert feed(templates, "job done in <hex> s", Level.CRITICAL, 2 * HOUR) == []
    assert feed(templates, "tea is ready", Level.INFO, 2 * HOUR) == []
    assert feed(templates, "tea is ready", Level.ERROR, 2 * HOUR) == []


def test_nothing_is_news_at_start_up() -> None:
    templates = Templates(RULE)
    assert [found for n in range(99) for found in feed(templates, f"{'x' * (n + 1)} trouble", Level.ERROR, n)] == []
    assert templates.counts["template_warmup"] == 99
    for n in range(1000):
        assert feed(templates, "job done", Level.INFO, 100 + n) == []
    assert feed(templates, "enough lines but too soon", Level.ERROR, HOUR - 1) == []


def test_where_every_other_line_is_new_a_new_one_is_no_news() -> None:
    templates = Templates(RULE)
    for n in range(400):
        templates.observe(
            f"{'a' * (n // 2 + 1)} {'b' * (n // 2 + 1)} c" if n % 2 else "job done", Level.INFO, at(20.0 * n)
        )
    assert feed(templates, "engine caught fire", Level.ERROR, 3 * HOUR) == []
    assert templates.counts["template_common"] == 1


def test_a_flood_of_new_kinds_is_a_few_findings_that_say_how_many_more() -> None:
    templates = warm()
    found = [each for n in range(10) for each in feed(templates, f"{'z' * (n + 1)} boot message", Level.WARN, 2 * HOUR)]
    assert len(found) == RULE.burst
    assert templates.counts["template_burst"] == 10 - RULE.burst
    later = [each for each in feed(templates, "engine caught fire", Level.WARN, 4 * HOUR) if each.state == "firing"]
    assert [each.unreported for each in later] == [5]
    assert "5 more new ones" in later[0].msg


def test_what_history_teaches_is_known() -> None:
    templates = Templates(RULE)
    templates.teach("engine caught fire", 3, at(-10 * HOUR))
    templates.teach("job done", 2000, at(-10 * HOUR))
    assert feed(templates, "engine caught fire", Level.ERROR, 1.0) == []
    assert [found.state for found in feed(templates, "ship hit iceberg", Level.ERROR, 2.0)] == ["firing"]


def test_beyond_the_cap_lines_are_counted_and_known_ones_still_found() -> None:
    templates = Templates(TemplateRule(max_templates=50))
    kinds = [f"{'x' * (n + 1)} happened" for n in range(80)]
    numbers = [templates.observe(kind, Level.INFO, at(n))[0] for n, kind in enumerate(kinds)]
    assert numbers == [*range(1, 51), *[OTHER] * 30]
    assert (len(templates), templates.counts["template_cap"], templates.capped_at) == (50, 30, at(49))
    assert templates.observe(kinds[7], Level.INFO, at(99))[0] == 8
    assert "beyond the cap" in templates.template(OTHER).text


def test_one_leaf_is_bounded_too() -> None:
    templates = Templates(TemplateRule(leaf_templates=10))
    draw = random.Random(1)
    for n in range(100):
        templates.observe(
            "start " + " ".join("".join(draw.choices("abcdef", k=6)) for _ in range(6)), Level.INFO, at(n)
        )
    assert (len(templates), templates.counts["template_leaf"]) == (10, 90)
    assert templates.observe("stop now", Level.INFO, at(101))[0] == 11


WORDS = ["up", "down", "link", "port", "user", "<num>", "<ip>", "a", "b"]
LINES = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=80)


BASE = "s a b c d e f"


@given(LINES)
@example([f"{BASE} g h i", f"{BASE} j k l", f"{BASE} x y z", "s a b c d e q x y z", f"{BASE} x y z"])
@example(["s a b c", "s a d e", "s a b e"])
def test_it_is_drain(lines: list[str]) -> None:
    templates = Templates(TemplateRule())
    drain: Any = Drain(depth=4, sim_th=TemplateRule().similarity, max_children=1000, parametrize_numeric_tokens=False)
    for n, line in enumerate(lines):
        assert templates.observe(line, Level.INFO, at(n))[0] == drain.add_log_message(line)[0].cluster_id
    assert [(each.get_template(), each.size) for each in drain.clusters] == [
        (templates.template(number).text, templates.template(number).lines) for number in range(1, len(templates) + 1)
    ]


@given(LINES, st.data())
@settings(max_examples=200)
def test_resuming_equals_never_stopping(lines: list[str], data: st.DataObject) -> None:
    rule = TemplateRule(warmup=timedelta(0), warmup_lines=3, novelty=1.0, max_templates=12, leaf_templates=3)
    with pytest.MonkeyPatch.context() as patch:
        # A narrow tree and a cache that overflows: both must leave no trace.
        patch.setattr(module, "MAX_CHILDREN", 3)
        patch.setattr(module, "CACHE_SIZE", 4)
        cut = data.draw(st.integers(0, len(lines)))
        whole, first = Templates(rule), Templates(rule)
        steps = [(line, 100.0 * n) for n, line in enumerate(lines)]
        expected = [feed(whole, line, Level.WARN, seconds) for line, seconds in steps]
        before = [feed(first, line, Level.WARN, seconds) for line, seconds in steps[:cut]]
        saved = first.snapshot()
        kept = pickle.dumps(saved)
        [feed(first, line, Level.WARN, seconds) for line, seconds in steps[cut:]]
        assert pickle.dumps(saved) == kept
        second = Templates.restored(rule, pickle.loads(kept))
        assert second.snapshot() == pickle.loads(kept)
        assert before + [feed(second, line, Level.WARN, seconds) for line, seconds in steps[cut:]] == expected
        assert second.snapshot() == whole.snapshot()
        assert len(whole) <= 12


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="snapshot version 9, expected 1; start afresh"):
        Templates.restored(RULE, {**warm().snapshot(), "v": 9})


def test_a_snapshot_is_small_and_plain() -> None:
    templates = Templates(TemplateRule())
    for n in range(2000):
        templates.observe(f"{chr(97 + n % 26) * (1 + n // 26)} service has been restarted by <num>", Level.INFO, at(n))
    saved = templates.snapshot()
    assert len(saved["templates"]) >= 1000
    assert len(pickle.dumps(saved)) / len(templates) < 200
    assert b"drain3" not in pickle.dumps(saved)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("linux-auth", 90, 140), ("openstack", 25, 50), ("apache-errors", 6, 6)]
)
def test_real_lines_give_about_as_many_templates_as_people_label(name: str, low: int, high: int) -> None:
    try:
        folder = captures_dir()
    except CapturesMissing as missing:
        pytest.skip(str(missing))
    templates = Templates(TemplateRule())
    for line in read_lines(folder, name):
        templates.observe(masked(line.msg), line.level, line.observed_at)
    assert low <= len(templates) <= high


def test_time_is_passed_in() -> None:
    templates = warm()
    news = templates.observe("engine caught fire", Level.ERROR, datetime.fromisoformat("2031-01-01T00:00:00+00:00"))[1]
    assert news is not None
    assert news.at.year == 2031
