"""A slot of detect: deadlines, expiry, changed policy, clocks that are wrong, what is counted and not judged."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from operators.detect.silence_board import SilenceNote
from operators.detect.slot import DetectSlot
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.identity import content_uuid
from tests.support.make import at, event, line, sample, tick

SHIPPED = load_policy(None)


def policy(folder: Path, detect: str) -> PolicySet:
    folder.mkdir(exist_ok=True)
    (folder / "detect.yaml").write_text(detect)
    return load_policy(folder)


class Slot:
    """Feeds a slot and keeps the anomalies."""

    def __init__(self, policies: PolicySet = SHIPPED, **options: Any) -> None:
        self.slot = DetectSlot(policies, max_series=options.pop("max_series", 100), **options)
        self.found: list[AnomalyDetected] = []
        self.passed: list[Event] = []
        self.notes: list[SilenceNote] = []
        self.counts: Counter[str] = Counter()

    @property
    def kinds(self) -> list[str]:
        return [note.kind for note in self.notes]

    @property
    def late(self) -> int:
        return self.counts["late"]

    def feed(self, *events: Event) -> "Slot":
        for each in events:
            for out in self.slot.process(each):
                if isinstance(out, SilenceNote):
                    self.notes.append(out)
                elif isinstance(out.body, AnomalyDetected):
                    self.found.append(out.body)
                else:
                    self.passed.append(out)
        self.counts.update(self.slot.take_counts())
        return self

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(each.rule or each.detector, each.state) for each in self.found]


def hot(start: float, count: int, value: float = 95.0, **fields: Any) -> list[Event]:
    return [event(sample(start + 30 * n, value, **fields)) for n in range(count)]


def test_a_threshold_fires_once_and_clears_once() -> None:
    slot = Slot().feed(*hot(0, 10), *hot(300, 5, 40.0))
    assert slot.states == [("cpu_high", "firing"), ("cpu_high", "cleared")]
    assert slot.found[0].msg.startswith("cpu_pct (%) of srv-1/node: 95 is above 85 for 120 s")


def test_what_fires_under_a_rule_that_policy_drops_is_cleared_at_the_next_tick(tmp_path: Path) -> None:
    before = Slot().feed(*hot(0, 6))
    after = Slot(policy(tmp_path / "p", "thresholds: {cpu_high: null}\n"))
    after.slot.restore(before.slot.snapshot())
    again = Slot(policy(tmp_path / "p", "thresholds: {cpu_high: null}\n"))
    again.slot.restore(after.slot.snapshot())
    for each in (after, again):
        each.feed(tick(200), tick(201))
        assert each.states == [("cpu_high", "cleared")]
        assert "no longer watches" in each.found[0].msg
        assert each.found[0].source == before.found[0].source


def test_a_series_unseen_for_its_expiry_is_forgotten_and_cleared() -> None:
    slot = Slot().feed(*hot(0, 6))
    slot.feed(tick(3600.0), tick(timedelta(days=8).total_seconds()))
    assert slot.states[-1] == ("cpu_high", "cleared")
    assert slot.slot.snapshot()["samples"]["series"] == b""


def test_a_late_sample_changes_nothing_and_is_counted() -> None:
    slot = Slot().feed(*hot(0, 3))
    slot.feed(event(sample(95, 10.0, ts=at(30), tracking_id="0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee")))
    slot.feed(*hot(90, 3))
    assert slot.late == 1
    assert slot.states == [("cpu_high", "firing")]


def test_a_device_whose_clock_was_set_back_is_believed_after_a_while() -> None:
    slot = Slot().feed(*hot(86_400, 2, 40.0))
    back = [event(sample(86_500 + 30 * n, 95.0, ts=at(30 * n))) for n in range(60)]
    slot.feed(*back)
    assert slot.late == 20
    assert slot.states == [("cpu_high", "firing")]


def test_late_samples_that_do_not_follow_each_other_never_set_the_clock_back() -> None:
    slot = Slot()
    for n in range(30):
        slot.feed(event(sample(60.0 * n, 40.0)), event(sample(60.0 * n + 30, 95.0, ts=at(60.0 * n - 300))))
    assert slot.late == 30
    assert slot.states == []


def test_samples_clamped_to_one_time_are_all_taken() -> None:
    slot = Slot()
    slot.feed(*(event(sample(1, 95.0, tracking_id=content_uuid(str(n))), n) for n in range(50)))
    assert slot.late == 0


def test_the_same_sample_twice_is_taken_once() -> None:
    twice = event(sample(60, 95.0))
    slot = Slot().feed(*hot(0, 2), twice, twice)
    assert (slot.late, slot.counts["duplicate"]) == (0, 1)


def test_a_duplicate_that_comes_late_is_late() -> None:
    slot = Slot().feed(*hot(0, 4), *hot(30, 1))
    assert (slot.late, slot.counts["duplicate"]) == (1, 0)


def test_a_value_out_of_range_is_counted_and_a_sign_of_life(tmp_path: Path) -> None:
    slot = Slot(policy(tmp_path / "p", "metrics: {cpu: {metric: cpu_pct, valid_min: 0, valid_max: 100}}\n"))
    for second in range(0, 300, 5):
        slot.feed(event(sample(second, 101.0 if second > 150 else 50.0)))
    slot.feed(tick(301), tick(320))
    assert slot.counts["out_of_range"] == 29
    assert slot.kinds == ["watched"]


def steady(start: float, end: float, **fields: Any) -> list[Event]:
    return [event(sample(second, 40.0, **fields)) for second in range(int(start), int(end), 5)]


def test_silence_is_noted_once_and_its_end_with_the_sample_that_ends_it() -> None:
    slot = Slot().feed(*steady(0, 300), tick(300), tick(340))
    assert slot.kinds == ["watched"]
    slot.feed(tick(420), tick(480), tick(600))
    assert slot.kinds == ["watched", "silent"]
    slot.feed(event(sample(700, 40.0)))
    assert slot.kinds == ["watched", "silent", "heard"]
    silent, heard = slot.notes[1:]
    assert (silent.series, silent.quiet.device_id) == ("aurora/srv-1/node/cpu_pct", "srv-1")
    assert silent.quiet.since == at(295).timestamp()
    assert silent.quiet.score >= 0.5
    assert (heard.at, heard.quiet.tracking_id) == (at(700), sample(700, 40.0).tracking_id)


def test_a_late_sample_is_a_sign_of_life() -> None:
    slot = Slot().feed(*steady(0, 300), tick(300), tick(420), tick(500), tick(600))
    assert slot.kinds == ["watched", "silent"]
    slot.feed(event(sample(610, 40.0, ts=at(100))))
    assert slot.late == 1
    assert slot.kinds == ["watched", "silent", "heard"]


def test_what_was_sent_once_is_never_missed() -> None:
    slot = Slot().feed(*(event(sample(n, 1.0, metric_name=f"job_{n}")) for n in range(50)))
    slot.feed(*(tick(60.0 * n) for n in range(1, 100)))
    assert slot.notes == []


def test_a_pause_of_the_log_is_nobodys_silence() -> None:
    slot = Slot().feed(*steady(0, 300), tick(300), tick(3900))
    assert slot.kinds == ["watched"]
    slot.feed(tick(4020), tick(4140))
    assert slot.kinds == ["watched"]
    slot.feed(tick(4200))
    assert slot.kinds == ["watched", "silent"]
    assert slot.notes[1].quiet.since == at(295).timestamp()


def test_a_series_that_is_forgotten_is_silent_no_longer() -> None:
    slot = Slot().feed(*steady(0, 300), *(tick(300 + 100 * n) for n in range(5)))
    assert slot.kinds == ["watched", "silent"]
    slot.feed(tick(timedelta(days=8).total_seconds()))
    assert slot.kinds == ["watched", "silent", "forgotten"]


@pytest.mark.parametrize("detect", ["silence: {enabled: false}\n", "silence: {exclude: ['cpu*']}\n"])
def test_a_policy_without_silence_lets_go_of_what_was_watched(tmp_path: Path, detect: str) -> None:
    before = Slot().feed(*steady(0, 300), tick(300), tick(400))
    after = Slot(policy(tmp_path / "p", detect))
    after.slot.restore(before.slot.snapshot())
    after.feed(tick(420), tick(480))
    assert after.kinds == ["forgotten"]
    assert Slot(policy(tmp_path / "p", detect)).feed(*steady(0, 300), tick(300), tick(400), tick(500)).notes == []


def test_what_fires_on_a_series_that_falls_silent_stays() -> None:
    slot = Slot().feed(*hot(0, 30), tick(900), *(tick(900 + 60 * n) for n in range(1, 60)))
    assert slot.states == [("cpu_high", "firing")]
    assert slot.kinds == ["watched", "silent"]


def test_an_ewma_that_fires_under_a_policy_without_it_is_cleared(tmp_path: Path) -> None:
    ewma = "thresholds: {cpu_high: null}\noutliers: {detectors: [ewma]}\n"
    before = Slot(policy(tmp_path / "a", ewma))
    before.feed(*(event(sample(5.0 * n, 40.0 + n % 3)) for n in range(400)))
    before.feed(*(event(sample(2000 + 5.0 * n, 900.0)) for n in range(5)))
    assert before.states == [("ewma", "firing")]
    after = Slot(policy(tmp_path / "b", "thresholds: {cpu_high: null}\noutliers: {detectors: []}\n"))
    after.slot.restore(before.slot.snapshot())
    assert after.feed(tick(2100)).states == [("ewma", "cleared")]


def test_what_only_forgotten_series_had_in_common_is_forgotten_too() -> None:
    slot = Slot()
    slot.feed(*(event(sample(n, 1.0, device_id=f"pod-{n}")) for n in range(50)))
    slot.feed(tick(3600), event(sample(timedelta(days=8).total_seconds(), 1.0)))
    slot.feed(tick(timedelta(days=8).total_seconds() + 1))
    shared = {thing for thing in slot.slot._samples._shared if isinstance(thing, str)}
    assert shared == {"aurora", "srv-1"}


def test_more_series_than_the_cap_are_counted_and_not_judged() -> None:
    slot = Slot(max_series=3)
    for n in range(5):
        slot.feed(*hot(0, 6, device_id=f"srv-{n}"))
    assert len(slot.found) == 3
    assert slot.counts["series_cap"] == 12


def test_a_pattern_clears_at_its_own_deadline_however_late_the_tick() -> None:
    slot = Slot().feed(event(line(0, "Failed password for root from 203.0.113.9 port 1 ssh2")), tick(1000))
    assert slot.states == [("authentication_failure", "firing"), ("authentication_failure", "cleared")]
    assert slot.found[1].observed_at == at(300)


def test_patterns_see_through_redaction() -> None:
    slot = Slot().feed(event(line(0, "Failed password for root from [guest_ip] port 1 ssh2")))
    assert slot.found[0].fields == {"user": "root", "rhost": "[guest_ip]"}


def test_a_huge_line_costs_no_more_than_a_long_one() -> None:
    slot = Slot().feed(event(line(0, "x" * 5000 + " out of memory")), event(line(1, "x" * 4000 + " out of memory")))
    assert [each.ts for each in slot.found] == [at(1)]
    assert len(slot.found[0].msg) < 500


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 5e-324])
def test_no_value_however_large_stops_the_flow(tmp_path: Path, value: float) -> None:
    policies = policy(
        tmp_path / "p",
        "thresholds: {cpu_high: {above: 85, clear: 84.5, hold_s: 0}}\nzscore: {min_samples: 10, hold_samples: 1}\n",
    )
    slot = Slot(policies).feed(*hot(0, 20, 50.0), *hot(600, 3, value), *hot(700, 20, 50.0), *hot(1300, 3, value / 4))
    for each in slot.found:
        assert 0.0 <= each.score <= 1.0
        each.to_json()


def test_another_number_of_slots_is_refused_with_the_remedy() -> None:
    saved = Slot(slots=8).feed(*hot(0, 3)).slot.snapshot()
    with pytest.raises(ValueError, match="8 slots, WATCHKEEPER_DETECT_SLOTS is 7; set it back"):
        DetectSlot(SHIPPED, max_series=10, slots=7).restore(saved)
