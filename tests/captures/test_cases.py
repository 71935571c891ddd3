"""Whole-flow golden replays: each folder holds what went in, under which policy, and what came out.

    <case>/in.ndjson.gz   a capture made with `watchkeeper capture`
    <case>/policy/        what differs from the shipped policy (optional)
    <case>/expected.json  the incidents in their last state, as a person would read them
    <case>/why.txt        what the case shows

After a wanted change: WATCHKEEPER_GOLDEN=write make test ARGS=tests/captures, then read the diff.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compose.replay import replay
from policy import load_policy
from schemas.settings import Settings

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/in.ndjson*"))


def told(text: str) -> dict[str, Any]:
    """What a person must be able to rely on, without the ids."""
    incident = json.loads(text)
    return {
        "type": incident["incident_type"],
        "title": incident["title"],
        "severity": incident["severity"],
        "status": incident["status"],
        "opened_at": incident["opened_at"],
        "resolved_at": incident["resolved_at"],
        "revision": incident["revision"],
        "anomalies": incident["anomaly_count"],
        "duplicates": incident["duplicate_count"],
        "scope": [f"{scope['device_id']}/{scope['service']}" for scope in incident["scope"]],
        "evidence": [evidence["summary"] for evidence in incident["evidence"]],
        "timeline": [f"{entry['event']}: {entry['reason']}" for entry in incident["timeline"]],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    (capture,) = case.glob("in.ndjson*")
    changes = case / "policy"
    policy = load_policy(changes if changes.is_dir() else None)
    out: list[str] = []
    summary = replay([capture], policy, Settings(ship_id="demo"), out.append, final=True)
    found = {"published": dict(sorted(summary.published.items())), "incidents": [told(text) for text in out]}
    golden = case / "expected.json"
    if os.environ.get("WATCHKEEPER_GOLDEN") == "write":
        golden.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    assert found == json.loads(golden.read_text())


def test_there_are_cases() -> None:
    assert len(CASES) >= 3
