"""The recovery store of a real vessel flow destroyed, refused, and rebuilt from the stream."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.capture import capture_to
from compose.replay import replay
from policy import load_policy
from schemas.settings import Settings
from tests.e2e.test_fast_path import attack
from tests.e2e.test_outages import publish
from tests.support.nats import until
from tests.support.parts import Parts, parts_in
from tests.support.system import WATCHKEEPER, running

pytestmark = pytest.mark.e2e


@pytest.fixture
def vessel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """The server forgets ids after a second, so that nothing but our reading back keeps a second copy away."""
    streams = {name: {"duplicate_window_s": 1} for name in ("ANOMALIES", "INCIDENTS", "INSIGHTS", "OPS")}
    monkeypatch.setenv("WATCHKEEPER_STREAMS", json.dumps(streams))
    with parts_in(tmp_path) as found:
        yield found


def store_of(vessel: Parts) -> Path:
    return vessel.folder / "recovery" / "vessel"


def start(vessel: Parts) -> None:
    vessel.start_flow("vessel")


def kill(vessel: Parts) -> None:
    vessel.kill("vessel")


def stop(vessel: Parts) -> None:
    vessel.stop("vessel")


def incidents(vessel: Parts) -> list[tuple[str, dict[str, Any]]]:
    """Everything in INCIDENTS: (Nats-Msg-Id, body), in order."""
    return [(headers["Nats-Msg-Id"], json.loads(data)) for _, _, headers, data in vessel.nats.read("INCIDENTS")]


def devices_of(vessel: Parts) -> set[str]:
    return {body["scope"][0]["device_id"] for _, body in incidents(vessel)}


def wait_for(vessel: Parts, *devices: str) -> None:
    until(lambda: set(devices) <= devices_of(vessel), seconds=20, what=f"incidents of {devices}")


def command(vessel: Parts, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "NATS_URL": vessel.nats.url,
        "CLICKHOUSE_DSN": f"http://127.0.0.1:{vessel.clickhouse_port}/watchkeeper",
        "WATCHKEEPER_DATA_DIR": str(vessel.folder),
        **{f"WATCHKEEPER_{flow.upper()}_PORT": str(port) for flow, port in vessel.ports.items()},
    }
    return subprocess.run([str(WATCHKEEPER), *words], env=environment, capture_output=True, text=True, timeout=90)


def refused(vessel: Parts) -> str:
    done = command(vessel, "run", "vessel")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [said] = [json.loads(line)["error"] for line in done.stderr.splitlines() if '"error": ' in line]
    return str(said)


def undisturbed(vessel: Parts, folder: Path) -> list[str]:
    """What one run without any disturbance makes of all that TELEMETRY holds."""
    capture_to(vessel.nats.config, folder / "all.ndjson", stream="TELEMETRY", first=1, count=None)
    lines: list[str] = []
    replay([folder / "all.ndjson"], load_policy(None), Settings(), lines.append)
    return lines


def told(body: dict[str, Any]) -> tuple[Any, ...]:
    evidence = [each["ref"] for each in body["evidence"]]
    return body["incident_id"], body["revision"], body["event"], body["severity"], body["updated_at"], evidence


def test_a_destroyed_store_is_refused_and_rebuilt_and_each_revision_is_there_once(
    vessel: Parts, tmp_path: Path
) -> None:
    start(vessel)
    publish(vessel.nats, [*attack("gw-1", 5), *attack("gw-2", 3)])
    wait_for(vessel, "gw-1", "gw-2")
    kill(vessel)
    shutil.rmtree(store_of(vessel))
    publish(vessel.nats, [*attack("gw-1", 4), *attack("gw-3", 3)])

    said = refused(vessel)
    assert "the recovery store is gone" in said
    assert "watchkeeper recover vessel" in said
    (vessel.folder / "recovery" / ".vessel.made").unlink()
    said = refused(vessel)
    assert "there is no recovery store, but stream ANOMALIES holds what this flow published earlier" in said
    assert not store_of(vessel).exists()

    done = command(vessel, "recover", "vessel", "--from", "first")
    assert done.returncode == 0, done.stderr
    assert "published already" in done.stdout
    assert "note:" not in done.stdout
    wait_for(vessel, "gw-3")

    start(vessel)
    publish(vessel.nats, attack("gw-4", 3))
    wait_for(vessel, "gw-4")
    stop(vessel)
    counts = Counter(msg_id for msg_id, _ in incidents(vessel))
    assert set(counts.values()) == {1}
    assert [told(body) for _, body in incidents(vessel)] == [
        told(json.loads(line)) for line in undisturbed(vessel, tmp_path)
    ]
    for name in ("ANOMALIES", "OPS", "INSIGHTS"):
        ids = Counter(headers["Nats-Msg-Id"] for _, _, headers, _ in vessel.nats.read(name))
        assert set(ids.values()) <= {1}, name


def test_an_old_store_is_moved_aside_and_what_cannot_be_rebuilt_is_said(vessel: Parts) -> None:
    start(vessel)
    publish(vessel.nats, attack("gw-old", 3))
    wait_for(vessel, "gw-old")
    [(_, old)] = incidents(vessel)
    running_now = command(vessel, "recover", "vessel")
    assert running_now.returncode == 1
    assert f"in use by another process (pid {vessel.processes['vessel'].pid})" in running_now.stderr
    kill(vessel)
    before = (store_of(vessel) / "part-0.sqlite3").read_bytes()
    last = vessel.nats.last_sequence("TELEMETRY")
    publish(vessel.nats, attack("gw-new", 3))

    wrong = command(vessel, "recover", "vessel", "--from", str(last + 1000))
    assert wrong.returncode == 2
    assert f"stream TELEMETRY at {vessel.nats.url} holds 1 to {last + 3}, not {last + 1000}" in wrong.stderr
    assert (store_of(vessel) / "part-0.sqlite3").read_bytes() == before
    assert command(vessel, "recover", "vessel", "--from", "yesterday").returncode == 2
    assert command(vessel, "recover", "archive", "--from", "7").returncode == 2

    vessel.nats.api("STREAM.PURGE.TELEMETRY", {"seq": last + 1})
    done = command(vessel, "recover", "vessel")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    [aside] = [path for path in store_of(vessel).parent.iterdir() if path.name.startswith("vessel.before-")]
    assert (aside / "part-0.sqlite3").read_bytes() == before
    assert f"the old recovery store is kept as {aside}" in words
    assert f"TELEMETRY was read from message {last + 1} (" in words
    assert "it has nothing earlier: what was learnt from earlier messages is not rebuilt" in words
    assert "1 incidents were open and cannot be rebuilt; they stay as last told:" in words
    assert old["incident_id"] in words
    wait_for(vessel, "gw-new")


def test_a_rebuild_begins_at_a_time(vessel: Parts) -> None:
    start(vessel)
    publish(vessel.nats, attack("gw-old", 3))
    wait_for(vessel, "gw-old")
    kill(vessel)
    vessel.nats.publish([("logs.ingested.app.x", b'{"msg": "a line to begin with"}')])
    first = vessel.nats.last_sequence("TELEMETRY")
    moment = vessel.nats.api("STREAM.MSG.GET.TELEMETRY", {"seq": first})["message"]["time"]
    done = command(vessel, "recover", "vessel", "--from", moment[:26] + "Z")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert f"TELEMETRY was read from message {first} (" in words
    assert "as you asked" in words


def test_the_whole_system_is_rebuilt_where_it_keeps_its_streams_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--no-demo", "--no-host-metrics")
    with running(data, *options) as ship:
        ship.publish(*attack("gw-up", 3))
        until(lambda: ship.incidents(device="gw-up"), seconds=20, what="an incident")
        ship.kill()
    for flow in ("vessel", "archive"):
        shutil.rmtree(data / "recovery" / flow)
    done = subprocess.run(
        [str(WATCHKEEPER), "up", "--data", str(data), "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "the recovery store is gone" in done.stderr
    for flow in ("vessel", "archive"):
        done = subprocess.run(
            [str(WATCHKEEPER), "recover", flow, "--data", str(data)], capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr
    with running(data, *options) as ship:
        assert len(ship.incidents(device="gw-up")) == 1
        assert ship.stop() == 0


@pytest.mark.parametrize("damage", ["recreated", "older"])
def test_a_stream_that_is_not_the_one_that_was_read_is_refused_until_it_is_chosen(vessel: Parts, damage: str) -> None:
    store, copy = vessel.nats.folder / "store", vessel.nats.folder / "copy"
    start(vessel)
    publish(vessel.nats, attack("gw-1", 3))
    wait_for(vessel, "gw-1")
    stop(vessel)
    if damage == "older":
        vessel.nats.stop()
        shutil.copytree(store, copy)
        vessel.nats.start()
        start(vessel)
        publish(vessel.nats, attack("gw-2", 40))
        wait_for(vessel, "gw-2")
        stop(vessel)
        vessel.nats.stop()
        telemetry = Path("jetstream", "$G", "streams", "TELEMETRY")
        shutil.rmtree(store / telemetry)
        shutil.copytree(copy / telemetry, store / telemetry)
        vessel.nats.start()
    else:
        vessel.nats.api("STREAM.DELETE.TELEMETRY")
    before = vessel.nats.last_sequence("INCIDENTS")
    for _ in range(2):
        said = refused(vessel)
        assert f"stream TELEMETRY at {vessel.nats.url} " in said
        assert ("was recreated" if damage == "recreated" else "was read already: it lost messages") in said
        assert "watchkeeper recover vessel" in said
    assert vessel.nats.last_sequence("INCIDENTS") == before
    done = command(vessel, "recover", "vessel")
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    if damage == "recreated":
        assert "TELEMETRY holds nothing to read from there on: nothing can be rebuilt" in words
        assert "1 incidents were open and cannot be rebuilt" in words
    start(vessel)
    publish(vessel.nats, attack("gw-5", 3))
    wait_for(vessel, "gw-5")


def test_a_second_vessel_on_the_same_store_is_refused(vessel: Parts) -> None:
    start(vessel)
    said = refused(vessel)
    assert f"the recovery store {store_of(vessel)} is in use by another process" in said
    assert f"(pid {vessel.processes['vessel'].pid})" in said
    publish(vessel.nats, attack("gw-1", 3))
    wait_for(vessel, "gw-1")
    stop(vessel)
