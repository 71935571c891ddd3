"""The inventory: read with its mistakes named, compared, told; on a real nats-server and a real API."""

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import watchkeeper
from api.serve import build_server
from compose.demo.ship import DEVICES, DemoShip
from compose.devices import Inventory, compare, read_inventory, send_devices
from compose.nats_server import free_port
from operators.clickhouse import Row
from operators.clickhouse.rows import device_row
from operators.correlate.topology import Topology
from operators.decode.decoder import DecodeLimits, Decoder
from operators.jetstream import NatsAwayError, NatsConfig, ensure_streams
from policy import PolicyError
from schemas.event import Event
from schemas.ops import Device
from schemas.settings import default_streams
from tests.api.client import ApiClient
from tests.api.conftest import Archive, api, archive, chdb_dsn, clickhouse_database, now, reader
from tests.api.story import arrival
from tests.support.make import raw
from tests.support.nats import Server

__all__ = ["api", "archive", "chdb_dsn", "clickhouse_database", "now", "reader"]

GOOD = """\
devices:
  vsat-1: {device_type: modem, vendor: Example Satcom, model: VX-900, location: radar mast, criticality: high}
  rtr-1:
    device_type: router
    depends_on: [vsat-1]
  spare:
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "inventory.yaml"
    file.write_text(text)
    return file


def device(device_id: str, ship_id: str = "aurora", **fields: Any) -> Device:
    return Device.model_validate({"ship_id": ship_id, "device_id": device_id, **fields})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "nats").start()
    try:
        ensure_streams(made.config, default_streams(), wait_s=10)
        yield made
    finally:
        made.stop()


@pytest.fixture
def api_port(api: ApiClient) -> Iterator[int]:
    http = build_server(api.app, "127.0.0.1", 0, signals=False)
    thread = threading.Thread(target=http.run)
    thread.start()
    yield http.port
    http.should_exit = True
    thread.join(10)


def run(server: Server | None, port: int, *words: str) -> Result:
    environment = {
        "NATS_URL": server.url if server else f"nats://127.0.0.1:{free_port()}",
        "WATCHKEEPER_API_PORT": str(port),
        "WATCHKEEPER_SHIP_ID": "aurora",
        "WATCHKEEPER_LOG_LEVEL": "error",
        "COLUMNS": "80",
    }
    logging = structlog.get_config()
    try:
        return CliRunner().invoke(watchkeeper.app, ["devices", *words], env=environment)
    finally:
        structlog.configure(**logging)


def stored(server: Server) -> list[Device]:
    """What the flow will read of it."""
    messages = [message for message in server.read("TELEMETRY") if message[1] == "ops.device"]
    decoder = Decoder("aurora", DecodeLimits())
    events = [
        event for n, (_, subject, _, data) in enumerate(messages) for event in decoder.decode(raw(n, subject, data))
    ]
    return [event.body for event in events if isinstance(event, Event) and isinstance(event.body, Device)]


def test_a_good_file_gives_its_devices_in_order(tmp_path: Path) -> None:
    found = read_inventory(write(tmp_path, GOOD), "aurora")
    assert found == Inventory(
        "aurora",
        (
            device("rtr-1", device_type="router", depends_on=("vsat-1",)),
            device("spare"),
            device(
                "vsat-1",
                device_type="modem",
                vendor="Example Satcom",
                model="VX-900",
                location="radar mast",
                criticality="high",
            ),
        ),
        (),
    )
    named = read_inventory(write(tmp_path, "ship: borealis\n" + GOOD), "aurora")
    assert {each.ship_id for each in named.devices} == {named.ship_id} == {"borealis"}


BAD = {
    "": "inventory.yaml: devices: expected a mapping of device names to what is known of them",
    "devices: []": "inventory.yaml:1: devices: expected a mapping of device names to what is known of them",
    "devices: {}": "inventory.yaml:1: devices: expected a mapping of device names to what is known of them",
    "- a": "inventory.yaml:1: expected a mapping of keys to values at the top",
    "devices:\n  a: router": "inventory.yaml:2: devices.a: expected a mapping such as {device_type: router, "
    "depends_on: [vsat-1]}, got 'router'",
    "devices:\n  a:\n    modell: X": "inventory.yaml:3: devices.a.modell: unknown key, did you mean model?",
    "devices:\n  a:\n    model: 900": "inventory.yaml:3: devices.a.model: expected text, got 900; put it in quotes, "
    '"900"',
    "devices:\n  a:\n    criticality: urgent": "inventory.yaml:3: devices.a.criticality: expected 'low', 'medium', "
    "'high' or 'critical', got 'urgent'",
    "devices:\n  a:\n    depends_on: b\n  b:": "inventory.yaml:3: devices.a.depends_on: expected a list, for example "
    "[vsat-1], got 'b'",
    "devices:\n  router-1:\n  a:\n    depends_on:\n      - router-1\n      - router-2": "inventory.yaml:6: "
    "devices.a.depends_on: no device router-2 in this file, did you mean router-1?",
    "devices:\n  a: {depends_on: [zzz]}": "inventory.yaml:2: devices.a.depends_on: no device zzz in this file, add it "
    "under devices, or take it out",
    "devices:\n  a: {depends_on: [a]}": "inventory.yaml:2: devices.a.depends_on: names the device itself, take it out",
    "devices:\n  b:\n  a: {depends_on: [b, b]}": "inventory.yaml:3: devices.a.depends_on: names b twice, keep one",
    "devices:\n  a:\n  b:\n  a:": "inventory.yaml:4: devices.a: given twice, first in line 2; keep one",
    "shipp: x\ndevices:\n  a:": "inventory.yaml:1: shipp: unknown key, did you mean ship?",
    "devices: {a: {": "inventory.yaml:1: broken YAML: expected the node content, but found '<stream end>'",
}


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_named_with_line_and_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_inventory(write(tmp_path, text), "aurora")
    assert str(caught.value).replace(str(tmp_path) + "/", "") == BAD[text]


def test_a_dependency_may_be_on_a_device_that_is_known_already(tmp_path: Path) -> None:
    file = write(tmp_path, "ship: borealis\ndevices:\n  printer-1: {depends_on: [rtr-1]}\n")
    asked: list[str] = []

    def ask(ship_id: str) -> list[str]:
        asked.append(ship_id)
        return ["rtr-1", "gone"]

    assert read_inventory(file, "aurora", ask).devices[0].depends_on == ("rtr-1",)
    assert asked == ["borealis"]
    with pytest.raises(PolicyError, match="no device rtr-1 in this file, did you mean rtr-11"):
        read_inventory(file, "aurora", lambda ship_id: ["rtr-11"])
    with pytest.raises(
        PolicyError, match=r"the API cannot be asked whether it is known: start it, name it with --api, or "
    ):
        read_inventory(file, "aurora", lambda ship_id: None)
    read_inventory(write(tmp_path, GOOD), "aurora", asked.append)
    assert len(asked) == 1, "a whole file needs nobody"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.yaml: cannot be read"):
        read_inventory(tmp_path / "nowhere.yaml", "aurora")


def test_devices_that_depend_on_each_other_are_a_warning(tmp_path: Path) -> None:
    text = "devices:\n  a: {depends_on: [b]}\n  b: {depends_on: [c]}\n  c: {depends_on: [a]}\n  d: {depends_on: [a]}\n"
    (warning,) = read_inventory(write(tmp_path, text), "aurora").warnings
    ring = warning.partition(":")[0].split(" → ")
    assert (len(ring), ring[0], set(ring)) == (4, ring[-1], {"a", "b", "c"})
    assert all((one, other) in {("a", "b"), ("b", "c"), ("c", "a")} for one, other in pairwise(ring))


@given(st.dictionaries(st.sampled_from("abcde"), st.sets(st.sampled_from("abcde"), max_size=3), min_size=1))
def test_there_is_a_warning_exactly_when_something_is_its_own_cause(
    tmp_path_factory: pytest.TempPathFactory, edges: dict[str, set[str]]
) -> None:
    edges = {name: {each for each in on if each in edges and each != name} for name, on in edges.items()}
    text = json.dumps({"devices": {name: {"depends_on": sorted(on)} for name, on in edges.items()}})
    found = read_inventory(write(tmp_path_factory.mktemp("ring"), text), "aurora")
    topology = Topology()
    for each in found.devices:
        topology.apply(each)
    in_ring = any(name in edges[up] for name in edges for up in topology.upstream(name))
    assert bool(found.warnings) == in_ring


def test_compare_tells_new_changed_and_vanished() -> None:
    known = {each.device_id: each for each in (device("same"), device("other", model="old"), device("gone"))}
    changes = compare(Inventory("aurora", (device("same"), device("other", model="new"), device("more")), ()), known)
    assert (changes.new, changes.changed, changes.vanished) == (("more",), ("other",), ("gone",))
    assert changes.removed == (device("gone", removed=True),)


def test_the_demo_ship_hangs_together() -> None:
    """What depends on what: the servers on the network, nothing on an engine."""
    topology = Topology()
    for _, payload in DemoShip(7).inventory():
        assert topology.apply(Device.model_validate(payload)) == "changed"
    known = {made.device_id for made in DEVICES}
    assert all(set(topology.upstream(name)) <= known for name in known)
    assert "srv-app-1" in topology.downstream("rtr-1")
    engines = {made.device_id for made in DEVICES if made.about["device_type"] == "engine"}
    assert not any(topology.downstream(name) or topology.upstream(name) for name in engines)


@pytest.mark.e2e
def test_what_is_sent_is_what_the_flow_reads(server: Server, tmp_path: Path) -> None:
    inventory = read_inventory(write(tmp_path, GOOD), "aurora")
    assert send_devices(server.config, inventory.devices) == 3
    assert sorted(stored(server), key=lambda each: each.device_id) == list(inventory.devices)
    many = [device(f"d{n:03}") for n in range(250)]
    assert send_devices(server.config, many) == 250
    assert {each.device_id for each in stored(server)} >= {each.device_id for each in many}


def test_without_nats_it_says_so() -> None:
    with pytest.raises(NatsAwayError, match="cannot be reached"):
        send_devices(NatsConfig(f"nats://127.0.0.1:{free_port()}"), [device("a")])


@pytest.mark.e2e
def test_import_says_what_changes_and_dry_run_sends_nothing(
    server: Server, archive: Archive, api_port: int, tmp_path: Path
) -> None:
    def known(device_id: str, **fields: Any) -> Row:
        return device_row(device(device_id, **fields), arrival(1))

    archive.add(known("rtr-1", model="old"), known("gone"), known("far", ship_id="borealis"))
    file = str(write(tmp_path, GOOD))
    dry = run(server, api_port, "import", file, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "2 new: spare, vsat-1" in dry.stdout
    assert "1 changed: rtr-1" in dry.stdout
    assert "1 not in the file, kept (--prune removes them): gone" in dry.stdout
    more = str(write(tmp_path, "devices:\n  printer-1: {depends_on: [gone]}\n"))
    one = run(server, api_port, "import", more, "--dry-run")
    assert one.exit_code == 0, one.output
    assert "1 device of aurora" in one.stdout
    assert "no device gone in this file" in run(server, api_port, "import", more, "--prune").stderr
    write(tmp_path, GOOD)
    assert stored(server) == []
    real = run(server, api_port, "import", file)
    assert real.exit_code == 0, real.output
    assert "3 devices of aurora imported\n→ next:\n  watchkeeper devices list\n" in real.stdout
    assert [each.device_id for each in stored(server) if each.removed] == []
    pruned = run(server, api_port, "import", file, "--prune")
    assert "3 devices of aurora imported, 1 removed" in pruned.stdout
    assert [(each.ship_id, each.device_id) for each in stored(server) if each.removed] == [("aurora", "gone")]


@pytest.mark.e2e
def test_without_the_api_it_imports_but_does_not_prune(server: Server, tmp_path: Path) -> None:
    file, nowhere = str(write(tmp_path, GOOD)), free_port()
    refused = run(server, nowhere, "import", file, "--prune")
    assert refused.exit_code == 1
    assert "--prune needs to know what was there" in refused.stderr
    assert "Nothing was sent" in refused.stderr
    assert stored(server) == []
    done = run(server, nowhere, "import", file)
    assert done.exit_code == 0
    assert "cannot be told" in done.stderr
    assert len(stored(server)) == 3


def test_a_bad_file_ends_with_2_and_one_line(tmp_path: Path) -> None:
    done = run(None, free_port(), "import", str(write(tmp_path, "devices:\n  a: {depends_on: [b]}")))
    assert done.exit_code == 2
    assert done.stderr.startswith("watchkeeper: inventory.yaml:2: devices.a.depends_on: no device b")
    assert done.stderr.count("\n") == 1


def test_list_shows_the_devices_in_80_columns(archive: Archive, api_port: int) -> None:
    empty = run(None, api_port, "list")
    assert "watchkeeper devices import FILE" in empty.stdout
    archive.add(
        *(device_row(Device(ship_id="aurora", device_id=each.device_id, **each.about), arrival(1)) for each in DEVICES)
    )
    table = run(None, api_port, "list")
    assert table.exit_code == 0, table.output
    lines = table.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == sorted(each.device_id for each in DEVICES)
    shown = json.loads(run(None, api_port, "list", "--json").stdout)
    assert {each["device_id"] for each in shown} == {each.device_id for each in DEVICES}
    away = run(None, free_port(), "list")
    assert away.exit_code == 1
    assert "does not answer" in away.stderr
