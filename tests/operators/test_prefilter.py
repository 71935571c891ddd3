import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.pattern import PatternMatcher, PatternRule
from operators.detect.prefilter import PrefilteredMatcher, needs
from policy import load_policy
from schemas.base import Level, Severity
from tests.bench.log_lines import NAMES, CapturesMissing, captures_dir, read_lines

SHIPPED = [
    PatternRule(name, rule.regex, rule.incident_type, rule.severity, rule.domain, rule.service, rule.min_level)
    for name, rule in load_policy(None).for_ship("aurora").detect.patterns.items()
]
ODD = [
    PatternRule("optional", (r"(?:disk )?full|a{0,3}b{2,}", r"[xy]z+"), None, Severity.LOW),
    PatternRule("repeat", (r"(?:retry ){2,5}(?P<what>\w+)",), None, Severity.LOW),
    PatternRule("look", (r"(?<!no )error(?= code)", r"(?>link|line) lost"), None, Severity.LOW),
    PatternRule("scoped", (r"(?i:FAIL)ed \d+",), None, Severity.LOW),
]
PIECES = [
    "disk ",
    "full",
    "retry ",
    "now",
    "no ",
    "error",
    " code",
    "link lost",
    "LINE LOST",
    "failed 7",
    "xzz",
    "bb",
    "password",
    "Failed password for root from 10.0.0.1",
    "connection ",
    "timed out",
    "K",
    "\u212a",
    "\u017fcan",
    " user ",
    "invalid",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_it_gives_what_the_whole_alternation_gives(pieces: list[str]) -> None:
    text = "".join(pieces)
    for rules in (SHIPPED, ODD, ODD + SHIPPED):
        fast, plain = PrefilteredMatcher(rules), PatternMatcher(rules)
        assert fast.search(text, "app", "x", Level.ERROR) == plain.search(text, "app", "x", Level.ERROR)


def test_letters_that_equal_ascii_ones_in_the_other_case_are_not_missed() -> None:
    found = PrefilteredMatcher(SHIPPED).search("di\u017fk full", "app", "x", Level.ERROR)
    assert found is not None
    assert found.rule.name == "disk_full"


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_the_same_on_real_lines(name: str) -> None:
    try:
        folder = captures_dir()
    except CapturesMissing as missing:
        pytest.skip(str(missing))
    fast, plain = PrefilteredMatcher(SHIPPED), PatternMatcher(SHIPPED)
    for line in read_lines(folder, name):
        assert fast.match(line) == plain.match(line)


def test_what_an_expression_needs() -> None:
    assert needs(r"\d+|x") == []
    assert needs(r"(?:foo)?bar") == [frozenset({"bar"})]
    assert needs(r"(?:one|two) of (?:these|those)") == [
        frozenset({"one", "two"}), frozenset({" of th"}), frozenset({"ese", "ose"}),
    ]  # fmt: skip
    assert needs(r"(?:one|\w+) of \d{2,3}") == [frozenset({" of "})]
