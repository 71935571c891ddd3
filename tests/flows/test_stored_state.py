"""State that an earlier version wrote: the whole vessel flow goes on from it as if it had never stopped.

tests/flows/stored holds a recovery store, packed, and what the flow said from there on; WATCHKEEPER_GOLDEN=write
writes both anew (a store of the version that is checked out: keep the old one, it is what ships have).
"""

import json
import os
import textwrap
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir

from compose.recovery import explain
from operators.capture import CaptureSource
from operators.stored_state import StoredStateError
from schemas.event import Outgoing
from tests.support.flow import SETTINGS, run_vessel
from tests.support.story import story

STORED = Path(__file__).parent / "stored"
CUT = 31 * 60 + 2.4
"""Seconds: in the midst of the attack, after the link has failed, with the CPU's incident resolved."""


def capture(path: Path, until: float = float("inf")) -> Path:
    begin = story()[0].observed_at
    with path.open("w") as file:
        for message in story():
            if (message.observed_at - begin).total_seconds() <= until:
                ts = message.observed_at.isoformat()
                record = {"seq": message.sequence, "subject": message.subject, "ts": ts, "data": message.data.decode()}
                file.write(json.dumps(record) + "\n")
    return path


def told(messages: list[Outgoing]) -> list[str]:
    """What a run published, short: stream, id, and of incidents what became of them."""
    out = []
    for message in messages:
        body: dict[str, Any] = json.loads(message.data)
        what = f"{body['event']} {body['severity']} {body['title']}" if message.stream == "INCIDENTS" else ""
        out.append(f"{message.stream} {message.msg_id} {what}".rstrip())
    return sorted(out)


def unpack(name: str, folder: Path) -> Path:
    store = folder / "vessel"
    store.mkdir()
    (store / "part-0.sqlite3").write_bytes(zlib.decompress(b64decode((STORED / f"{name}.txt").read_text())))
    return store


def write(name: str, folder: Path) -> None:
    store = folder / "written"
    store.mkdir()
    init_db_dir(store, 1)
    run_vessel(CaptureSource([capture(folder / "before.ndjson", CUT)]), recovery=store)
    STORED.mkdir(exist_ok=True)
    packed = b64encode(zlib.compress((store / "part-0.sqlite3").read_bytes(), 9)).decode()
    (STORED / f"{name}.txt").write_text("\n".join(textwrap.wrap(packed, 100)) + "\n")


@pytest.mark.parametrize("name", ["vessel_2026_11_29"])
def test_the_state_of_the_whole_flow_loads_and_goes_on_as_if_never_stopped(name: str, tmp_path: Path) -> None:
    expected = STORED / f"{name}.expected.json"
    if os.environ.get("WATCHKEEPER_GOLDEN") == "write":
        write(name, tmp_path)
    said = told(run_vessel(CaptureSource([capture(tmp_path / "all.ndjson")]), recovery=unpack(name, tmp_path)))
    if os.environ.get("WATCHKEEPER_GOLDEN") == "write":
        expected.write_text(json.dumps(said, indent=1) + "\n")
    assert said == json.loads(expected.read_text())
    whole = set(told(run_vessel(CaptureSource([tmp_path / "all.ndjson"]))))
    assert set(said) < whole
    incidents = [line for line in said if line.startswith("INCIDENTS")]
    assert any("resolved" in line and "attack" in line for line in incidents)
    assert not any("created" in line and "attack" in line for line in incidents)


def test_a_store_whose_slots_are_others_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.flow.SETTINGS", SETTINGS.model_copy(update={"detect_slots": 4}))
    with pytest.raises(StoredStateError) as caught:
        run_vessel(CaptureSource([capture(tmp_path / "all.ndjson")]), recovery=unpack("vessel_2026_11_29", tmp_path))
    known = explain(caught.value, tmp_path / "vessel")
    assert known is not None
    assert "kept in 8 slots, WATCHKEEPER_DETECT_SLOTS is 4; set it back" in str(known)
    assert "watchkeeper recover vessel" in str(known)
