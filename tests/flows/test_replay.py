"""Replay of captures: deterministic to the byte, refuses what is no capture, finds what is in the real ones."""

import gzip
import json
import os
import random
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from compose.replay import replay
from operators.capture import CaptureError, read_captures
from policy import load_policy
from schemas.settings import Settings
from tests.bench.flow_run import profile_policy
from tests.support.system import WATCHKEEPER

CAPTURES = os.environ.get("CAPTURES_DIR")
NAB = os.environ.get("NAB_DIR")
needs_captures = pytest.mark.skipif(CAPTURES is None, reason="CAPTURES_DIR is not set")


def run(*names: str, final: bool = False, batch: Any = 500, profile: str = "poc") -> list[str]:
    out: list[str] = []
    paths = [Path(str(CAPTURES)) / f"{name}.ndjson.gz" for name in names]
    replay(paths, profile_policy(profile), Settings(ship_id="aurora"), out.append, final=final, batch=batch)
    return out


def incidents(name: str, profile: str = "poc") -> list[dict[str, Any]]:
    return [json.loads(text) for text in run(name, final=True, profile=profile)]


@needs_captures
@pytest.mark.parametrize("name", ["linux-auth", "openssh-bruteforce"])
def test_the_same_bytes_whatever_the_batches(name: str) -> None:
    expected = run(name)
    draw = random.Random(7)
    for batch in (1, 7, lambda: draw.randint(1, 300)):
        assert run(name, batch=batch) == expected


@needs_captures
def test_the_same_bytes_whatever_the_hash_seed_and_the_time_of_day() -> None:
    outputs = set()
    for seed, zone in (("1", "UTC"), ("4242", "Pacific/Auckland")):
        command = [str(WATCHKEEPER), "replay", f"{CAPTURES}/openssh-bruteforce.ndjson.gz"]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        outputs.add(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") > 10


@needs_captures
@pytest.mark.parametrize(("name", "host", "most"), [("linux-auth", "combo", 60), ("openssh-bruteforce", "LabSZ", 8)])
def test_an_attack_is_few_incidents_with_growing_evidence(name: str, host: str, most: int) -> None:
    attacks = [each for each in incidents(name) if each["incident_type"] == "auth_attack"]
    assert 1 <= len(attacks) <= most
    assert {scope["device_id"] for each in attacks for scope in each["scope"]} == {host}
    assert max(each["anomaly_count"] for each in attacks) >= 10
    assert max(len(each["evidence"]) for each in attacks) >= 3
    growth: dict[str, list[int]] = {}
    for text in run(name):
        each = json.loads(text)
        growth.setdefault(each["incident_id"], []).append(len(each["evidence"]))
    assert all(sizes == sorted(sizes) for sizes in growth.values())


WINDOWS = {
    "engine-room": {
        "temperature": "realKnownCause/machine_temperature_system_failure.csv",
        "ambient_temperature": "realKnownCause/ambient_temperature_system_failure.csv",
    },
    "server-room": {
        "disk_write_bytes": "realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv",
        "request_latency_ms": "realKnownCause/ec2_request_latency_system_failure.csv",
        "request_count": "realAWSCloudwatch/elb_request_count_8c0756.csv",
        "network_in_bytes": "realAWSCloudwatch/ec2_network_in_257a54.csv",
    },
}


@needs_captures
@pytest.mark.skipif(NAB is None, reason="NAB_DIR is not set")
@pytest.mark.parametrize(("name", "profile", "least"), [("engine-room", "poc", 2), ("server-room", "full", 1)])
def test_there_are_incidents_inside_labelled_failure_windows(name: str, profile: str, least: int) -> None:
    labels = json.loads((Path(str(NAB)) / "labels" / "combined_windows.json").read_text())
    inside = 0
    found = incidents(name, profile)
    for each in found:
        opened = datetime.fromisoformat(each["opened_at"])
        for metric, file in WINDOWS[name].items():
            if metric in each["evidence"][0]["summary"]:
                inside += any(
                    datetime.fromisoformat(f"{begin}+00:00") <= opened <= datetime.fromisoformat(f"{end}+00:00")
                    for begin, end in labels[file]
                )
    assert inside >= least
    assert len(found) <= inside + 2


@needs_captures
def test_every_capture_replays() -> None:
    for path in sorted(Path(str(CAPTURES)).glob("*.ndjson.gz")):
        out: list[str] = []
        summary = replay([path], load_policy(None), Settings(), out.append, final=True)
        assert summary.lines >= 2000
        assert summary.published["DEAD_LETTERS/telemetry"] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", ":1: expected a line"),
        ('{"seq": 1}', ":1: expected a line"),
        ('{"seq": 1, "subject": "s", "ts": "2026-01-01T00:00:00", "headers": {}, "data": ""}', "time zone missing"),
        ('{"seq": 1, "subject": "s", "ts": "2026-01-01T00:00:00Z", "headers": {}, "data_base64": "%"}', ":1: expected"),
        ("[]", ":1: expected a line"),
        ("[" * 200_000, ":1: expected a line"),
        ('{"seq": 1, "subject": "s", "ts": "2026-01-01T00:00:00Z", "headers": {}, "data": 5}', ":1: expected a line"),
        ('{"seq": 1, "subject": "s", "ts": "2026-01-01T00:00:00Z", "headers": [1], "data": ""}', ":1: expected a line"),
        ('{"seq": 0, "subject": "s", "ts": "2026-01-01T00:00:00Z", "headers": {}, "data": ""}', "expected it to rise"),
    ],
)
def test_what_is_no_capture_is_refused_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.ndjson"
    file.write_text(text)
    with pytest.raises(CaptureError, match=r"bad\.ndjson") as caught:
        list(read_captures([file]))
    assert says in str(caught.value)


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    line = '{"seq": %d, "subject": "s", "ts": "2026-01-01T00:00:00Z", "headers": {}, "data": "x"}\n'
    good = "".join(line % n for n in range(1, 101))
    file = tmp_path / "cut.ndjson.gz"
    file.write_bytes(gzip.compress(good.encode())[:-20])
    with pytest.raises(CaptureError, match=r"cut\.ndjson\.gz: cannot be read"):
        list(read_captures([file]))


def test_several_captures_are_merged_by_arrival(tmp_path: Path) -> None:
    for name, seconds in (("a", (1, 5)), ("b", (2, 4))):
        (tmp_path / name).write_text(
            "\n".join(
                json.dumps({"seq": n, "subject": name, "ts": f"2026-01-01T00:00:0{n}Z", "headers": {}, "data": ""})
                for n in seconds
            )
        )
    merged = list(read_captures([tmp_path / "a", tmp_path / "b"]))
    assert [(line.sequence, line.subject) for line in merged] == [(1, "a"), (2, "b"), (3, "b"), (4, "a")]
