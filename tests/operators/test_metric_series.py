"""Metric series of a slot under anything a ship may send: order, fate of what is late, state, size."""

import pickle
import tracemalloc
from collections import Counter
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.detect.silence_board import SilenceNote
from operators.detect.slot import DetectSlot
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.identity import event_uuid
from schemas.telemetry import MetricSample
from tests.support.make import START, STREAM, event, sample, tick
from tests.support.snapshots import meaning

WARM = 220
PROFILES = ("core-fast", "full")
METRICS = ("cpu_pct", "rf_snr_db")


@cache
def policy_of(profile: str, folder: Path) -> PolicySet:
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(f"profile: {profile}\n")
    (folder / "detect.yaml").write_text("thresholds: {cpu_high: {above: 85, clear: 80, hold_s: 0}}\n")
    return load_policy(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


@cache
def warm(profile: str, folder: Path) -> bytes:
    """A slot whose two series have been steady for long enough to be judged."""
    slot = DetectSlot(policy_of(profile, folder), max_series=10)
    for n in range(WARM):
        for metric in METRICS:
            list(slot.process(event(sample(5.0 * n, 40.0 + n % 3, metric_name=metric, tracking_id=number(n)))))
    list(slot.process(tick(5.0 * WARM)))
    slot.take_counts()
    return pickle.dumps(slot.snapshot())


def number(n: int) -> str:
    return event_uuid(STREAM, n + 1, 0)


def resumed(state: bytes, profile: str, folder: Path) -> DetectSlot:
    slot = DetectSlot(policy_of(profile, folder), max_series=10)
    slot.restore(pickle.loads(state))
    return slot


Said = tuple[str, Any]


def said(slot: DetectSlot, events: list[Event]) -> list[Said]:
    out: list[Said] = []
    for each in events:
        for found in slot.process(each):
            if isinstance(found, SilenceNote):
                out.append((found.kind, found))
            elif isinstance(found.body, AnomalyDetected):
                out.append((found.body.state, found.body))
    return out


VALUES = st.one_of(
    st.sampled_from([40.0, 41.0, 42.0, 40.0, 95.0, 0.0, -1e6, 1e300, -1.7e308, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sample", "sample", "sample", "again", "late", "back", "tick"]),
        st.sampled_from(METRICS),
        VALUES,
        st.sampled_from([0.0, 0.001, 5.0, 5.0, 5.0, 70.0, 3600.0]),
    ),
    max_size=60,
)


def events_of(steps: list[tuple[str, str, float, float]]) -> list[Event]:
    """In order of arrival: samples in time, duplicates, late ones, a clock an hour back, and ticks."""
    now, out, latest = 5.0 * WARM + 1, list[Event](), None
    for n, (kind, metric, value, step) in enumerate(steps):
        now += step
        place = 10_000_000 + n
        if kind == "tick":
            out.append(tick(now)._replace(pos=(place, -1)))
        elif kind == "again" and latest is not None:
            out.append(latest._replace(pos=(place, 0), at=START + timedelta(seconds=now)))
        else:
            behind = {"late": 30.0, "back": 3600.0}.get(kind, 0.0)
            ts = START + timedelta(seconds=now - behind)
            body = sample(now, value, metric_name=metric, ts=ts, tracking_id=number(100_000 + n))
            latest = event(body, place)
            out.append(latest)
    return out


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, cut=st.integers(0, 60))
def test_any_interleaving_alternates_and_resuming_equals_never_stopping(
    profile: str, folder: Path, steps: list[tuple[str, str, float, float]], cut: int
) -> None:
    events = events_of(steps)
    whole = resumed(warm(profile, folder), profile, folder)
    expected = said(whole, events)
    open_: set[str] = set()
    for kind, body in expected:
        if isinstance(body, AnomalyDetected):
            assert (body.source in open_) == (kind == "cleared"), body.msg
            open_ ^= {body.source}
            assert 0.0 <= body.score <= 1.0
            body.to_json()
    for metric in METRICS:
        kinds = [kind for kind, note in expected if isinstance(note, SilenceNote) and note.quiet.metric_name == metric]
        changes = [kind for kind in kinds if kind in ("silent", "heard")]
        assert changes == ["silent", "heard"] * (len(changes) // 2) + ["silent"] * (len(changes) % 2)
    first = resumed(warm(profile, folder), profile, folder)
    before = said(first, events[:cut])
    second = resumed(pickle.dumps(first.snapshot()), profile, folder)
    assert before + said(second, events[cut:]) == expected
    assert meaning(second.snapshot()) == meaning(whole.snapshot())
    counts = whole.take_counts()
    assert first.take_counts() + second.take_counts() == counts
    assert set(counts) <= {"late", "duplicate"}


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_every_sample_is_judged_late_or_a_duplicate(folder: Path, steps: list[tuple[str, str, float, float]]) -> None:
    """The fate of each by the rule as it stands in words, beside the code."""
    events = events_of(steps)
    slot = resumed(warm("core-fast", folder), "core-fast", folder)
    said(slot, events)
    expected: Counter[str] = Counter()
    last = {metric: (number(WARM - 1), (START + timedelta(seconds=5.0 * (WARM - 1)))) for metric in METRICS}
    late_run = dict.fromkeys(METRICS, 0)
    for each in events:
        body = each.body
        if not isinstance(body, MetricSample):
            continue
        metric = body.metric_name
        if body.tracking_id == last[metric][0]:
            expected["duplicate"] += 1
        elif body.ts < last[metric][1] and late_run[metric] < 20:
            expected["late"] += 1
            late_run[metric] += 1
        else:
            last[metric], late_run[metric] = (body.tracking_id, body.ts), 0
    assert slot.take_counts() == expected


def big_slot(policies: PolicySet, series: int, samples: int) -> DetectSlot:
    slot = DetectSlot(policies, max_series=series, slots=64)
    for n in range(samples):
        for one in range(series):
            names = {"device_id": f"server-{one // 30:03d}", "metric_name": f"gauge_{one % 30:02d}_value"}
            found = sample(5.0 * n, 50.0 + (n * 7 + one * 3) % 11 / 7, tracking_id=event_uuid(STREAM, n, one), **names)
            assert not list(slot.process(event(found)))
    return slot


def cheap(folder: Path) -> PolicySet:
    (folder / "cheap").mkdir(exist_ok=True)
    (folder / "cheap" / "policy.yaml").write_text("profile: core-fast\n")
    return load_policy(folder / "cheap")


def test_a_series_of_the_cheap_profile_takes_256_bytes_in_the_snapshot_name_and_all(folder: Path) -> None:
    slot = big_slot(cheap(folder), 1500, 30)
    assert len(pickle.dumps(slot.snapshot(), 5)) / 1500 <= 256


def test_a_series_of_the_cheap_profile_takes_a_kilobyte_of_memory(folder: Path) -> None:
    policies = cheap(folder)
    big_slot(policies, 10, 30)
    tracemalloc.start()
    try:
        slot = big_slot(policies, 500, 30)
        used = tracemalloc.get_traced_memory()[0] / 500
    finally:
        tracemalloc.stop()
    names = 49 + len("aurora/server-001/node/gauge_01_value")
    assert used - names <= 1024, slot
