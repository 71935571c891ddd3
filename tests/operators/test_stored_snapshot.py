"""A slot's snapshot as an earlier build wrote it: this build loads it and goes on as that one would have.

    stored/detect_slot_v5.txt            the slot at the cut of the story (pickle, zlib, base64)
    stored/detect_slot_v5.expected.json  what the slot that was never stopped found after the cut
    stored/detect_slot_v4.txt, v3.txt    the same story at the cut, by the versions before; nothing is lost
    stored/detect_slot_v4.expected.json  what that version found after the cut (v3 likewise)
    stored/detect_slot_v2.txt            the same, by the one before that; what it does not hold is learnt anew

The layout has changed: raise SNAPSHOT_VERSION, keep these files and add those of the new version with
WATCHKEEPER_GOLDEN=write; the old ones must still load, by a function in operators/detect/upgrade.py.
"""

import json
import os
import pickle
import textwrap
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from struct import Struct
from typing import Any

import pytest

from operators.detect.saved_rows import unpack_rows
from operators.detect.silence_board import SilenceNote
from operators.detect.slot import SNAPSHOT_VERSION, DetectSlot
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.identity import event_uuid
from tests.support.make import STREAM, event, line, sample, tick

STORED = Path(__file__).parent / "stored"
CUT = 4000
END = 8000
SLOTS = 4


def slot() -> DetectSlot:
    return DetectSlot(load_policy(STORED / "policy"), max_series=10, slots=SLOTS)


def story() -> list[Event]:
    """Three series and some lines: a CPU hot across the cut, a sensor that jumps after it, one that falls silent."""
    out: list[Event] = []
    for second in range(0, END, 10):
        cpu = 95.0 if CUT - 300 <= second < CUT + 300 else 40.0 + second // 10 % 7
        snr = 30.0 if CUT + 1000 <= second < CUT + 1100 else 12.0 + second // 10 % 5 / 10
        values = {"cpu_pct": cpu, "rf_snr_db": snr}
        if second < CUT + 200:
            values["fan_rpm"] = 1200.0 + second // 10 % 11
        for n, (metric, value) in enumerate(values.items()):
            tracking_id = event_uuid(STREAM, second, n)
            labels = {"fan": "left"} if metric == "fan_rpm" else {}
            out.append(
                event(sample(second + n / 10, value, metric_name=metric, labels=labels, tracking_id=tracking_id))
            )
        if second % 60 == 0:
            out.append(event(line(second + 0.5, f"session {second} opened for user backup", level="info")))
        if second == CUT - 100:
            out.append(event(line(second + 0.6, "Failed password for root from 203.0.113.9 port 4711 ssh2")))
        out.append(tick(second + 1))
    return out


def found(of: DetectSlot, events: list[Event]) -> list[dict[str, Any]]:
    """What a slot says, as a person would check it."""
    out: list[dict[str, Any]] = []
    for each in events:
        for item in of.process(each):
            if isinstance(item, SilenceNote):
                out.append({"series": item.series, "says": item.kind, "at": str(item.at), "msg": item.quiet.msg})
            elif isinstance(item.body, AnomalyDetected):
                body = item.body
                says = f"{body.detector} {body.rule or ''} {body.state}"
                out.append({"series": body.series, "says": says, "at": str(item.at), "msg": body.msg})
    return out


def before_the_cut() -> list[Event]:
    return [each for each in story() if (each.pos[0] < CUT * 1000)]


def after_the_cut() -> list[Event]:
    return [each for each in story() if (each.pos[0] >= CUT * 1000)]


def stored(name: str) -> dict[str, Any]:
    state: dict[str, Any] = pickle.loads(zlib.decompress(b64decode((STORED / name).read_text())))
    return state


def write(name: str, state: dict[str, Any]) -> None:
    packed = b64encode(zlib.compress(pickle.dumps(state, 5), 9)).decode()
    (STORED / name).write_text("\n".join(textwrap.wrap(packed, 100)) + "\n")


NAME = f"detect_slot_v{SNAPSHOT_VERSION}"


def test_the_snapshot_of_this_version_loads_and_goes_on_as_if_never_stopped() -> None:
    if os.environ.get("WATCHKEEPER_GOLDEN") == "write":
        whole = slot()
        found(whole, before_the_cut())
        write(f"{NAME}.txt", whole.snapshot())
        expected = found(whole, after_the_cut())
        (STORED / f"{NAME}.expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    resumed = slot()
    resumed.restore(stored(f"{NAME}.txt"))
    expected = json.loads((STORED / f"{NAME}.expected.json").read_text())
    assert found(resumed, after_the_cut()) == expected
    says = {(each["series"].partition("/node/")[2] or "log", each["says"]) for each in expected}
    assert {
        ("cpu_pct", "threshold cpu_high cleared"),
        ("rf_snr_db", "vote  firing"),
        ("rf_snr_db", "vote  cleared"),
        ("fan_rpm{fan=left}", "silent"),
        ("log", "pattern authentication_failure cleared"),
    } <= says


@pytest.mark.parametrize("version", [3, 4])
def test_the_snapshot_of_a_version_before_loads_and_goes_on_as_if_never_stopped(version: int) -> None:
    resumed = slot()
    resumed.restore(stored(f"detect_slot_v{version}.txt"))
    assert found(resumed, after_the_cut()) == json.loads((STORED / f"{NAME}.expected.json").read_text())


def test_views_in_parts_become_those_that_this_version_would_have_kept() -> None:
    upgraded, kept = slot(), slot()
    upgraded.restore(stored("detect_slot_v3.txt"))
    kept.restore(stored(f"{NAME}.txt"))
    records = []
    for each in (upgraded, kept):
        found(each, after_the_cut()[:900])
        rows = unpack_rows(each.snapshot()["samples"]["series"])
        talking = rows[:2]  # the third has been silent since: its bins of the present half hour are still apart
        records.append([row[4]["vote"]["voters"]["record_surprise"]["views"] for row in talking])
    assert len(records[0]) == 2
    assert records[0] == records[1]


def test_the_snapshot_of_version_2_loads() -> None:
    """Series, thresholds and lines go on; rhythms and what zscore had learnt begin anew."""
    resumed = slot()
    resumed.restore(stored("detect_slot_v2.txt"))
    after = [each["says"] for each in found(resumed, after_the_cut())]
    assert after.count("threshold cpu_high cleared") == 1
    assert after.count("pattern authentication_failure cleared") == 1
    assert "threshold cpu_high firing" not in after
    assert after.count("watched") == 2
    assert resumed.take_counts() == {}
    assert len(unpack_rows(resumed.snapshot()["samples"]["series"])) == 3


def judge(firing: float) -> dict[str, Any]:
    return {"judge": Struct("<B7d3H").pack(1, 500.0, 0.0, 0.0, 0.0, 7.0, 0.0, firing, 0, 0, 0)}


@pytest.mark.parametrize(
    ("kind", "saved", "expected"),
    [
        ("zscore", {"firing": True}, ["zscore  cleared"]),
        ("vote", {"firing": True}, ["vote  cleared"]),
        ("vote", {"firing": False}, []),
        ("ewma", judge(1.0), ["ewma  cleared"]),
        ("ewma", judge(0.0), []),
        ("flat", {"flat": b"\x01\x00\x01"}, ["flat  cleared"]),
    ],
)
def test_what_the_version_before_had_firing_and_is_learnt_anew_is_cleared(
    kind: str, saved: dict[str, Any], expected: list[str]
) -> None:
    state = stored("detect_slot_v2.txt")
    name = "aurora/srv-1/node/rf_snr_db"
    state["samples"][name]["detectors"] = {kind: saved}
    resumed = slot()
    resumed.restore(state)
    assert [each["says"] for each in found(resumed, [tick(CUT)]) if each["series"] == name] == expected


@pytest.mark.parametrize("version", [1, SNAPSHOT_VERSION + 1])
def test_other_versions_are_refused_with_the_remedy(version: int) -> None:
    with pytest.raises(ValueError, match=f"snapshot version {version}, expected {SNAPSHOT_VERSION}; start afresh"):
        slot().restore({**stored(f"{NAME}.txt"), "v": version})
