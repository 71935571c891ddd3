"""Every command and every message in the README works as written."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_fast_path import attack, of_device
from tests.support.nats import Server, free_port, until
from tests.support.system import WATCHKEEPER, Ship, running

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TABLE = re.findall(r"^\| `\.venv/bin/(watchkeeper [^`]+)` \|", README, re.MULTILINE)
SHELL = [line for kind, text in BLOCKS if kind == "" for line in text.splitlines() if re.match(r"(make|curl) ", line)]
STORY = ROOT / "tests" / "captures" / "attack-and-link-down" / "in.ndjson.gz"


def watchkeeper(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(WATCHKEEPER), *words], capture_output=True, text=True, timeout=60, cwd=ROOT, **options)


def test_the_readme_has_the_two_commands_first() -> None:
    assert SHELL[:2] == ["make up", "make test"]


@pytest.mark.parametrize("line", SHELL[:2])
def test_the_make_targets_exist_and_run_what_they_say(line: str) -> None:
    target = line.removeprefix("make ")
    done = subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, check=True, cwd=ROOT)
    assert {"up": "watchkeeper up --data data --port 8080", "test": "-m pytest"}[target] in done.stdout


@pytest.mark.parametrize("line", SHELL[2:])
def test_the_requests_are_answered(ship: Ship, line: str) -> None:
    words = shlex.split(line)
    path = words[-1].removeprefix("localhost:8080")
    assert ship.http.get(path).raise_for_status().json()


def test_the_messages_are_read_and_kept(ship: Ship) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "json"]
    log, sample = text.splitlines()
    ship.publish(("logs.ingested.security.sshd", log.encode()), ("metrics.ingested.system.srv-1", sample.encode()))
    ship.publish(*[("logs.ingested.security.sshd", log.replace("gw-1", "gw-readme").encode())] * 3)
    until(lambda: of_device(ship, "gw-readme"), seconds=10, what="an incident from the README's line")


def _up(tmp_path: Path, ship: Ship) -> None:
    with running(tmp_path / "data", "--no-demo") as other:
        assert other.get("/api/v3/stats")["total"] == 0
        assert other.stop() == 0


def _run_vessel(tmp_path: Path, ship: Ship) -> None:
    """On a server of its own: a second vessel on the ship's streams would be refused."""
    server = Server(tmp_path / "nats").start()
    environment = {
        "PATH": "/usr/bin:/bin",
        "NATS_URL": server.url,
        "WATCHKEEPER_DATA_DIR": str(tmp_path),
        "WATCHKEEPER_VESSEL_PORT": str(port := free_port()),
    }
    process = subprocess.Popen([str(WATCHKEEPER), "run", "vessel"], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}/health/ready"), seconds=20, what="a ready vessel flow")
        assert "watchkeeper_lag_messages" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        server.kill()


def _serve(words: list[str], tmp_path: Path, path: str, port: int) -> None:
    environment = {"PATH": "/usr/bin:/bin", "WATCHKEEPER_API_PORT": str(port), "WATCHKEEPER_DATA_DIR": str(tmp_path)}
    process = subprocess.Popen([str(WATCHKEEPER), *words], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}{path}"), seconds=20, what=f"an answer from {words}")
        process.terminate()
        assert process.wait(20) in (0, -15)
    finally:
        process.kill()
        process.communicate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _api(tmp_path: Path, ship: Ship) -> None:
    _serve(["api"], tmp_path, "/health/live", free_port())


def _clickhouse(tmp_path: Path, ship: Ship) -> None:
    port = free_port()
    _serve(["clickhouse", "--path", str(tmp_path / "chdb"), "--port", str(port)], tmp_path, "/ping", port)


def _capture(tmp_path: Path, ship: Ship) -> None:
    done = watchkeeper("capture", str(tmp_path / "out.ndjson"), env={"PATH": "/usr/bin", "NATS_URL": ship.nats_url})
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"{len((tmp_path / 'out.ndjson').read_text().splitlines())} messages of TELEMETRY\n"


def _replay(tmp_path: Path, ship: Ship) -> None:
    done = watchkeeper("replay", str(STORY), "--final")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 2
    assert "incidents" in done.stderr


def _asked(ship: Ship, *words: str) -> subprocess.CompletedProcess[str]:
    return watchkeeper(*words, env={"PATH": "/usr/bin", "NATS_URL": ship.nats_url, "USER": "ana", "COLUMNS": "80"})


def _url(ship: Ship) -> str:
    return str(ship.http.base_url)


def _incident(ship: Ship) -> str:
    ship.publish(*attack("gw-readme"))
    (incident,) = until(lambda: of_device(ship, "gw-readme"), seconds=20, what="an incident")
    return str(incident["incident_id"])


def _plot(tmp_path: Path, ship: Ship) -> None:
    done = watchkeeper("plot", "ship-1/vsat-1/vsat/rf_snr_db", "--capture", str(STORY), env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert "rf_snr_db" in done.stdout


def _incidents(tmp_path: Path, ship: Ship) -> None:
    incident_id = _incident(ship)
    done = _asked(ship, "incidents", "--api", _url(ship))
    assert done.returncode == 0, done.stderr
    assert incident_id[:8] in done.stdout
    assert max(len(line) for line in done.stdout.split("→")[0].splitlines()) <= 80


def _ack(tmp_path: Path, ship: Ship) -> None:
    done = _asked(ship, "ack", _incident(ship), "--api", _url(ship))
    assert done.returncode == 0, done.stderr
    assert "is acknowledged, by ana" in done.stdout


def _silence(tmp_path: Path, ship: Ship) -> None:
    assert "--match" in watchkeeper("silence", "--help").stdout
    done = _asked(ship, "silence", "--match", "device_id=gw-quiet", "--for", "2h", "--reason", "work on it")
    assert done.returncode == 0, done.stderr


def _silences(tmp_path: Path, ship: Ship) -> None:
    silence = ("--match", "device_id=gw-listed", "--for", "2h", "--reason", "work on it")
    assert _asked(ship, "silence", *silence).returncode == 0

    def listed() -> str:
        done = _asked(ship, "silences", "--api", _url(ship))
        assert done.returncode == 0, done.stderr
        return done.stdout

    until(lambda: "device_id=gw-listed; until" in listed(), seconds=10, what="the silence in the list")
    (silence_id,) = [
        each["silence_id"]
        for each in json.loads(_asked(ship, "silences", "--json", "--api", _url(ship)).stdout)
        if each["matchers"] == {"device_id": "gw-listed"}
    ]
    assert _asked(ship, "unsilence", silence_id).returncode == 0
    until(lambda: "gw-listed" not in listed(), seconds=10, what="a list without it")


def _why(tmp_path: Path, ship: Ship) -> None:
    done = _asked(ship, "why", _incident(ship), "--api", _url(ship))
    assert done.returncode == 0, done.stderr
    assert "gw-readme" in done.stdout


def _devices(tmp_path: Path, ship: Ship) -> None:
    (tmp_path / "devices.yaml").write_text("devices:\n  rtr-9: {device_type: router}\n")
    done = _asked(ship, "devices", "import", str(tmp_path / "devices.yaml"), "--api", _url(ship))
    assert done.returncode == 0, done.stderr


def _policy_check(tmp_path: Path, ship: Ship) -> None:
    assert watchkeeper("policy", "check").stdout.startswith("policy is right")


def _doctor(tmp_path: Path, ship: Ship) -> None:
    done = watchkeeper("doctor", env={"PATH": "/usr/bin", "NATS_URL": ship.nats_url, "COLUMNS": "80"})
    assert "all streams" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    environment = {"PATH": "/usr/bin"}  # that the system is embedded is found in its data folder
    whole = watchkeeper("doctor", "--data", str(ship.data), "--json", env=environment)
    assert whole.returncode == 0, whole.stdout
    status = {check["part"]: check["status"] for check in json.loads(whole.stdout)}
    assert {status[part] for part in ("nats", "api", "vessel", "archive")} == {"ok"}
    assert "clickhouse" not in status


def _recover(tmp_path: Path, ship: Ship) -> None:
    """Not while the flow runs (that it rebuilds is shown in test_recover.py)."""
    done = watchkeeper("recover", "vessel", "--data", str(ship.data), env={"PATH": "/usr/bin"})
    assert done.returncode == 1
    assert "in use by another process" in done.stderr


COMMANDS: dict[str, Callable[[Path, Ship], None]] = {
    "watchkeeper up --no-demo": _up,
    "watchkeeper run vessel": _run_vessel,
    "watchkeeper api": _api,
    "watchkeeper clickhouse": _clickhouse,
    "watchkeeper capture FILE": _capture,
    "watchkeeper replay FILE --final": _replay,
    "watchkeeper plot SERIES": _plot,
    "watchkeeper incidents": _incidents,
    "watchkeeper ack INCIDENT": _ack,
    "watchkeeper silence --help": _silence,
    "watchkeeper silences": _silences,
    "watchkeeper why ID": _why,
    "watchkeeper devices import FILE": _devices,
    "watchkeeper recover vessel": _recover,
    "watchkeeper policy check": _policy_check,
    "watchkeeper doctor": _doctor,
}


@pytest.mark.parametrize("command", TABLE)
def test_every_command_works(command: str, tmp_path: Path, ship: Ship) -> None:
    COMMANDS[command](tmp_path, ship)


def test_no_command_is_left_out() -> None:
    assert set(COMMANDS) == set(TABLE)
