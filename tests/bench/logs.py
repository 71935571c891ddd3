"""Logs: lines a second through patterns, templates and rates, and the cost of more templates.

`python -m tests.bench.logs --json [--quick]`; CAPTURES_DIR names the captures. Times are CPU seconds of
this one thread, the best of several rounds, so that others at work on the machine count little.
"""

import argparse
import gc
import pickle
import random
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from time import process_time
from typing import Any

from operators.clickhouse.rows import log_row
from operators.detect.log_series import LogRules, LogSeries
from operators.detect.pattern import PatternMatcher, PatternRule
from operators.detect.prefilter import PrefilteredMatcher
from operators.detect.rate import RateRule, RateSeries
from operators.detect.slot import DetectSlot
from operators.detect.templates import TemplateRule, Templates
from operators.mask import hash_of, masked
from policy import PolicySet, load_policy
from schemas.base import Level
from schemas.event import Event
from schemas.telemetry import LogMessage
from tests.bench.log_lines import NAMES, CapturesMissing, captures_dir, read_lines, varied
from tests.bench.report import Figure, write

START = datetime(2026, 3, 1, tzinfo=UTC)
RULES = LogRules(TemplateRule(), RateRule(), max_series=100_000)


@cache
def vocabulary() -> list[str]:
    """3,000 words of seven letters."""
    draw = random.Random(1)
    return ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3000)]


def shipped_patterns() -> list[PatternRule]:
    """The patterns of the shipped policy, as the slot makes them."""
    return [
        PatternRule(name, rule.regex, rule.incident_type, rule.severity, rule.domain, rule.service, rule.min_level)
        for name, rule in load_policy(None).for_ship("bench").detect.patterns.items()
    ]


def seconds(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest round."""
    best = float("inf")
    gc.collect()
    for _ in range(rounds):
        begun = process_time()
        work()
        best = min(best, process_time() - begun)
    return best


def through(match: Callable[[LogMessage], Any], lines: list[LogMessage]) -> LogSeries:
    """Every line through patterns, templates and rates."""
    series = LogSeries(RULES)
    for line in lines:
        match(line)
        series.observe(line, line.observed_at)
    return series


def throughput(lines: list[LogMessage], rounds: int) -> Iterator[Figure]:
    """Lines a second of the whole path; floor: one search of a compiled expression on the same lines.

    logs.lines_in_slot is the path as detect runs it, with anomalies made; what it adds is the slot's own.
    """
    search = re.compile("timed out").search
    floor = len(lines) / seconds(lambda: [search(line.msg) for line in lines], rounds)
    rules = shipped_patterns()
    fast, plain = PrefilteredMatcher(rules), PatternMatcher(rules)
    for name, match in (("logs.lines", fast.match), ("logs.lines_without_prefilter", plain.match)):
        spent = seconds(lambda match=match: through(match, lines), rounds)  # type: ignore[misc]
        yield Figure(name, len(lines) / spent, "lines/s", floor)
    events = [Event((n, 0), line.observed_at, line) for n, line in enumerate(lines)]
    policy = load_policy(None)
    spent = seconds(lambda: in_slot(events, policy), rounds)
    yield Figure("logs.lines_in_slot", len(lines) / spent, "lines/s", floor)


def in_slot(events: list[Event], policy: PolicySet) -> int:
    """Every line through a slot of detect; how many anomalies there were."""
    slot = DetectSlot(policy, max_series=100_000)
    return sum(1 for event in events for _ in slot.process(event))


def parts(lines: list[LogMessage], rounds: int) -> Iterator[Figure]:
    """Microseconds a line of each part; floor: the same search."""
    search = re.compile("timed out").search
    rules = shipped_patterns()
    fast, plain = PrefilteredMatcher(rules), PatternMatcher(rules)
    forms = [masked(line.msg) for line in lines]

    def rates() -> None:
        series = LogSeries(RULES)
        for line, form in zip(lines, forms, strict=True):
            number, _ = series.templates.observe(form, line.level, line.observed_at)
            series.storms.add(line.device_id, line.service, line.level, number, line.ts, line.observed_at)

    def templates() -> None:
        found = Templates(RULES.templates)
        for line, form in zip(lines, forms, strict=True):
            found.observe(form, line.level, line.observed_at)

    each = 1e6 / len(lines)
    floor = seconds(lambda: [search(line.msg) for line in lines], rounds) * each
    work: list[tuple[str, Callable[[], object]]] = [
        ("patterns", lambda: [plain.match(line) for line in lines]),
        ("patterns_prefiltered", lambda: [fast.match(line) for line in lines]),
        ("mask", lambda: [masked(line.msg) for line in lines]),
        ("hash", lambda: [hash_of(form) for form in forms]),
        ("archive_row", lambda: [log_row(line, (1, 0)) for line in lines]),
        ("templates", templates),
        ("templates_and_rates", rates),
    ]
    for name, run in work:
        yield Figure(f"logs.cost.{name}", seconds(run, rounds) * each, "us/line", floor)


def kinds(count: int, seed: int = 5) -> list[list[str]]:
    """So many kinds of lines of 5 to 14 words, each with one word that varies (<any> here)."""
    draw = random.Random(seed)
    found: dict[tuple[str, ...], list[str]] = {}
    while len(found) < count:
        words = draw.choices(vocabulary(), k=draw.randint(5, 14))
        words[draw.randrange(1, len(words))] = "?"
        found.setdefault(tuple(words), words)
    return list(found.values())


def filled(count: int) -> tuple[Templates, list[list[str]]]:
    """Templates that know so many kinds of lines."""
    templates, known = Templates(TemplateRule()), kinds(count)
    for words in known:
        templates.observe(" ".join(words).replace("?", "first"), Level.INFO, START)
    return templates, known


def curve(sizes: Iterable[int], count: int, rounds: int) -> Iterator[Figure]:
    """Cost of a line against the templates known: of a form seen before, and of one to search for.

    floor: the same cost with the fewest templates.
    """
    floors: dict[str, float] = {}
    for size in sizes:
        templates, known = filled(size)
        yield Figure(f"logs.templates.{size}.kept", len(templates), "templates", size)
        same = [" ".join(known[i % size]).replace("?", "first") for i in range(count)]
        fresh = ([" ".join(known[i % size]).replace("?", f"{vocabulary()[i % 3000]}-{r}-{i}") for i in range(count)]
                 for r in range(1, rounds + 2))  # fmt: skip
        for name, batches in (("seen", (same for _ in range(rounds + 1))), ("searched", fresh)):
            best = float("inf")
            for batch in batches:
                best = min(best, _observe_all(templates, batch))
            cost = best / count * 1e6
            yield Figure(f"logs.templates.{size}.{name}", cost, "us/line", floors.setdefault(name, cost))


def _observe_all(templates: Templates, forms: list[str]) -> float:
    begun = process_time()
    for form in forms:
        templates.observe(form, Level.INFO, START)
    return process_time() - begun


def beyond_cap(count: int) -> Iterator[Figure]:
    """New kinds of lines after the cap, and the worst leaf: all lines of one length with one first word."""
    templates, _ = filled(10_000)
    strange = [" ".join(words) for words in kinds(count, seed=6)]
    cost = _observe_all(templates, strange) / count * 1e6
    yield Figure("logs.templates.beyond_cap", cost, "us/line")
    yield Figure("logs.templates.beyond_cap.counted", templates.counts["template_cap"], "lines", count)
    crowded = Templates(TemplateRule())
    draw = random.Random(7)
    same_leaf = ["start " + " ".join(draw.choices(vocabulary(), k=9)) for _ in range(count)]
    cost = _observe_all(crowded, same_leaf) / count * 1e6
    yield Figure("logs.templates.one_leaf", cost, "us/line")
    yield Figure("logs.templates.one_leaf.kept", len(crowded), "templates", TemplateRule().leaf_templates)


def memory(lines: list[LogMessage]) -> Iterator[Figure]:
    """Bytes of what is kept: a template, and a series of the rates; in memory and in a snapshot."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        templates, _ = filled(10_000)
        templates._known.clear()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(templates)
    finally:
        tracemalloc.stop()
    yield Figure("logs.memory.template", each, "bytes")
    saved = len(pickle.dumps(templates.snapshot())) / len(templates)
    yield Figure("logs.snapshot.template", saved, "bytes")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rates = [RateSeries(0) for _ in range(1000)]
        for one in rates:
            one.add(RULES.rates, 30_000_000)
        each = (tracemalloc.get_traced_memory()[0] - before) / len(rates)
    finally:
        tracemalloc.stop()
    yield Figure("logs.memory.rate_series", each, "bytes")
    series = through(lambda line: None, lines)
    saved = len(pickle.dumps(series.storms.snapshot())) / len(series.storms)
    yield Figure("logs.snapshot.rate_series", saved, "bytes")
    yield Figure("logs.series", len(series.storms), "series")


def figures(*, quick: bool) -> Iterator[Figure]:
    """Every figure of this benchmark."""
    folder = captures_dir()
    lines = [line for group in zip(*(read_lines(folder, name) for name in NAMES), strict=True) for line in group]
    count, rounds = (30_000, 2) if quick else (200_000, 4)
    mixed = varied(lines, count, START, per_second=1000.0, seed=3)
    yield from throughput(mixed, rounds)
    yield from parts(mixed, rounds)
    sizes = (10, 1000, 10_000) if quick else (10, 100, 1000, 2000, 5000, 10_000)
    yield from curve(sizes, 10_000, rounds)
    yield from beyond_cap(2000 if quick else 10_000)
    yield from memory(mixed)


def main() -> int:
    """Print the figures; 2 when the captures are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    parser.add_argument("--quick", action="store_true", help="fewer lines and rounds")
    asked = parser.parse_args()
    try:
        write(figures(quick=asked.quick), as_json=asked.json)
    except CapturesMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
