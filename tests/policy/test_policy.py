"""The policy: what it gives, where each value comes from, and one bad configuration a mistake."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from operators.capture import read_capture
from operators.decode import DecodeLimits, Decoder
from operators.detect.log_rules import pattern_rules
from operators.detect.pattern import PatternMatcher
from policy import PolicyError, describe, load_policy
from policy.model import SEGMENTS, Policy
from schemas.base import Severity
from schemas.event import Event, RawMessage
from schemas.telemetry import LogMessage
from tests.support.make import line

BAD = sorted(path for path in (Path(__file__).parent / "bad").iterdir() if path.is_dir())


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
def test_a_mistake_is_refused_in_one_line_that_says_where_and_what_was_expected(case: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(case)
    said = str(caught.value)
    assert (case / "expected.txt").read_text().strip() in said
    assert "\n" not in said


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such folder"):
        load_policy(tmp_path / "nowhere")


def test_the_shipped_values_are_those_that_people_were_promised() -> None:
    policy = load_policy(None).default
    thresholds = policy.detect.thresholds
    promised = {
        "cpu_high": (85, None, 120),
        "memory_high": (90, None, 120),
        "disk_high": (85, None, 600),
        "rf_snr_low": (None, 7, 60),
        "link_latency_high": (500, None, 180),
        "packet_loss_high": (5, None, 120),
    }
    assert {
        name: (thresholds[name].above, thresholds[name].below, thresholds[name].hold_s) for name in promised
    } == promised
    assert {rule.window_s for rule in policy.correlate.incident_types.values()} <= set(range(300, 1201))
    assert (policy.correlate.dedup_ttl_s, policy.correlate.suppression_ttl_s) == (900, 1800)
    assert (policy.retention.logs_days, policy.retention.incidents_days) == (5, 30)
    slo = policy.slo
    assert (slo.fast_path_p95_ms, slo.fast_path_p99_ms) == (1500, 3000)
    assert (slo.insight_p95_ms, slo.lag_messages) == (10_000, 100)


def test_directory_profile_and_ship_win_in_this_order(tmp_path: Path) -> None:
    policy = load_policy(
        write(
            tmp_path,
            detect="zscore: {window: 400}\nthresholds: {cpu_high: {above: 90}, disk_high: null}\n",
            policy=(
                "profile: full\n"
                "profiles: {full: {detect: {zscore: {window: 500}}}}\n"
                "ships: {aurora: {detect: {zscore: {window: 600}}}}\n"
            ),
        )
    )
    assert policy.default.detect.zscore.window == 500
    assert policy.for_ship("aurora").detect.zscore.window == 600
    assert policy.for_ship("borealis") == policy.default
    assert policy.default.detect.thresholds["cpu_high"].above == 90
    assert policy.default.detect.thresholds["cpu_high"].hold_s == 120
    assert "disk_high" not in policy.default.detect.thresholds
    assert policy.default.features.llm


def test_every_value_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = write(tmp_path, slo="lag_messages: 7\n", policy="ships:\n  aurora: {slo: {lag_messages: 9}}\n")
    policy = load_policy(folder)
    assert policy.origin(None, "slo.lag_messages") == f"{tmp_path.name}/slo.yaml:1"
    assert policy.origin("aurora", "slo.lag_messages") == "ship aurora"
    assert policy.origin(None, "slo.success_rate").startswith("policy/slo.yaml:")
    shown = {key: (value, origin) for key, value, origin in describe.show(policy, "aurora")}
    assert shown["slo.lag_messages"] == (9, "ship aurora")
    assert shown["correlate.severity.score_map.0.5"][0] == Severity.LOW


def test_the_hash_says_whether_two_policies_are_the_same(tmp_path: Path) -> None:
    shipped = load_policy(None)
    assert load_policy(write(tmp_path, slo="lag_messages: 100\n")).hash == shipped.hash
    assert load_policy(write(tmp_path, slo="lag_messages: 101\n")).hash != shipped.hash


def models(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield model, name, field
        for inner in inner_models(field.annotation):
            yield from models(inner)


def inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from inner_models(argument)


FIELDS = list(models(Policy))
IDS = [f"{model.__name__}.{name}" for model, name, _ in FIELDS]


@pytest.mark.parametrize(("model", "name", "field"), FIELDS, ids=IDS)
def test_every_key_is_documented_and_bounded(model: type[BaseModel], name: str, field: FieldInfo) -> None:
    assert field.description
    if field.annotation in (int, float):
        assert any(isinstance(bound, Ge | Gt) for bound in field.metadata), "no lower bound"
        assert any(isinstance(bound, Le | Lt) for bound in field.metadata), "no upper bound"
    if field.annotation is str:
        assert any(isinstance(bound, MaxLen) or "pattern" in repr(bound) for bound in field.metadata)


def test_there_are_eleven_segments_each_with_its_file() -> None:
    assert set(SEGMENTS) == {
        "ingest", "detect", "enrich", "correlate", "maintenance", "llm", "notify", "remediate", "retention", "privacy",
        "slo",
    }  # fmt: skip
    schema = describe.schema()
    assert set(schema) == {"segments", "policy.yaml"}
    for segment in SEGMENTS:
        assert (Path(describe.__file__).parent / f"{segment}.yaml").is_file()


MATCHER = PatternMatcher(pattern_rules(load_policy(None).default))

LINES = [
    text.split("\t")
    for text in (Path(__file__).parent / "lines.tsv").read_text().splitlines()
    if not text.startswith("#")
]


@pytest.mark.parametrize(("name", "fields", "text"), LINES, ids=[text[:40] for _, _, text in LINES])
def test_the_shipped_patterns_find_what_they_should_and_no_more(name: str, fields: str, text: str) -> None:
    match = MATCHER.match(line(0, text))
    found = ("-", {}) if match is None else (match.rule.name, match.fields)
    assert found == (name, json.loads(fields))


REAL = [
    ("apache-errors", 0, 0),
    ("openstack", 0, 0),
    ("thunderbird", 0, 5),
    ("linux-auth", 450, 600),
    ("openssh-bruteforce", 900, 1900),
]


@pytest.mark.skipif("CAPTURES_DIR" not in os.environ, reason="CAPTURES_DIR is not set")
@pytest.mark.parametrize(("capture", "least", "most"), REAL)
def test_on_real_logs_they_find_attacks_and_little_else(capture: str, least: int, most: int) -> None:
    decoder = Decoder("aurora", DecodeLimits())
    hits = 0
    for entry in read_capture(Path(os.environ["CAPTURES_DIR"]) / f"{capture}.ndjson.gz"):
        raw = RawMessage("TELEMETRY", entry.identity, entry.sequence, entry.observed_at, entry.subject, entry.data)
        for item in decoder.decode(raw):
            if isinstance(item, Event) and isinstance(item.body, LogMessage):
                hits += MATCHER.match(item.body) is not None
    assert least <= hits <= most
