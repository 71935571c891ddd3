"""What docs/correlation.md shows works as it stands there, and names what there is."""

import doctest
import re
from pathlib import Path
from typing import Any

from policy import load_policy
from policy.enrich import CachePolicy
from schemas.anomaly import ContextData

FILE = Path(__file__).parents[2] / "docs" / "correlation.md"
TEXT = FILE.read_text()


def test_the_examples_of_severity_are_right() -> None:
    result = doctest.testfile(str(FILE), module_relative=False)
    assert result.attempted >= 8
    assert result.failed == 0


def test_every_field_of_context_is_told_with_the_time_that_its_answer_is_kept() -> None:
    section = TEXT.partition("## Context")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ") and "`" in line]
    fields = [name for row in rows for name in re.findall(r"`(\w+)`", row[1])]
    kept = sorted(float(match[1]) for row in rows[1:] if (match := re.search(r"(\d+) s", row[-1])))
    assert sorted(set(fields) - {"context"}) == sorted(ContextData.model_fields)
    known = load_policy(None).default.enrich.cache
    assert kept == sorted(getattr(known, name) for name in CachePolicy.model_fields if name.endswith("_s"))


def test_every_setting_that_it_names_exists() -> None:
    policy = load_policy(None).default
    for name in re.findall(r"`((?:enrich|correlate)\.[\w.]+)`", TEXT):
        value: Any = policy
        for part in name.split("."):
            value = getattr(value, part)
