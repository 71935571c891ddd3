"""Commands from the command line: published once, answered, explained; on a real nats-server."""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from nats.aio.client import Client
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

import watchkeeper
from api.serve import build_server
from compose.command_text import explain_outcome, find_target, read_duration, read_matchers
from compose.commands import CommandError, Outcome, make_command, send_command
from compose.nats_server import free_port
from operators.decode.decoder import DecodeLimits, Decoder
from operators.jetstream import NatsAwayError, NatsConfig, NatsError, ensure_streams
from schemas.event import Event
from schemas.identity import content_uuid
from schemas.ops import AuditEvent, OpsCommand
from schemas.settings import default_streams
from tests.api.client import ApiClient
from tests.api.conftest import Archive, api, archive, chdb_dsn, clickhouse_database, now, reader
from tests.api.story import incident, row_of
from tests.support.make import raw
from tests.support.nats import Server, until, warnings
from tests.support.system import WATCHKEEPER, running

__all__ = ["api", "archive", "chdb_dsn", "clickhouse_database", "now", "reader"]

INCIDENT = "6e1d2f0a-0000-8000-8000-000000000001"
UNTIL = datetime(2026, 3, 1, 2, tzinfo=UTC)

Answer = Callable[[OpsCommand], dict[str, Any] | None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "nats").start()
    try:
        ensure_streams(made.config, default_streams(), wait_s=10)
        yield made
    finally:
        made.stop()


class Flow:
    """Answers commands as the test says, as the vessel flow would; None is no answer."""

    def __init__(self, server: Server, answer: Answer) -> None:
        self._server, self._answer = server, answer
        self._ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: server.run(self._serve))

    def __enter__(self) -> "Flow":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    async def _serve(self, client: Client) -> None:
        async def on_command(msg: Any) -> None:
            command = OpsCommand.model_validate_json(msg.data)
            fields = self._answer(command)
            if fields is not None:
                audit = of(command, **fields)
                other = of(make("ack"), outcome="refused", reason=f"not {command.command_id}")
                await client.jetstream().publish("ops.suppression", f"held back by {command.command_id}".encode())
                await client.jetstream().publish("ops.audit", f"broken {command.command_id}".encode())
                await client.jetstream().publish("ops.audit", other.to_json())
                await client.jetstream().publish("ops.audit", audit.to_json())

        await client.subscribe("ops.command", cb=on_command)
        await client.flush()
        self._ready.set()
        await asyncio.get_running_loop().run_in_executor(None, self._end.wait)


def of(command: OpsCommand, **fields: Any) -> AuditEvent:
    known: dict[str, Any] = {
        "tracking_id": content_uuid("command", command.command_id),
        "ship_id": command.ship_id,
        "audit_id": content_uuid("audit", command.command_id),
        "ts": datetime.now(UTC),
        "command_id": command.command_id,
        "action": command.action,
        "by": command.by,
        "outcome": "applied",
        "reason": "as asked",
        "incident_id": command.incident_id,
    }
    return AuditEvent.model_validate({**known, **fields})


def make(action: Any, **fields: Any) -> OpsCommand:
    return make_command(action, **{"ship_id": "aurora", "by": "ana", "incident_id": INCIDENT, **fields})


def run(server: Server | None, *words: str, port: int | None = None, **environ: str) -> Result:
    environment = {
        "NATS_URL": server.url if server else f"nats://127.0.0.1:{free_port()}",
        "WATCHKEEPER_API_PORT": str(port or free_port()),
        "WATCHKEEPER_SHIP_ID": "aurora",
        "WATCHKEEPER_LOG_LEVEL": "error",
        "USER": "ana",
        "COLUMNS": "80",
        **environ,
    }
    logging = structlog.get_config()
    try:
        return CliRunner().invoke(watchkeeper.app, list(words), env=environment)
    finally:
        structlog.configure(**logging)


def stored(server: Server) -> list[OpsCommand]:
    """What the vessel flow will read of TELEMETRY."""
    decoder, found = Decoder("aurora", DecodeLimits()), []
    for sequence, subject, _, data in server.read("TELEMETRY"):
        for event in decoder.decode(raw(sequence, subject, data)):
            assert isinstance(event, Event), event
            assert isinstance(event.body, OpsCommand)
            found.append(event.body)
    return found


COMMANDS: list[tuple[list[str], dict[str, Any], str]] = [
    (["ack", INCIDENT], {}, f"incident {INCIDENT} is acknowledged, by ana"),
    (["ack", INCIDENT, "--reason", "on it"], {"reason": "on it"}, "acknowledged"),
    (["assign", INCIDENT, "ben"], {"args": {"assignee": "ben"}}, f"incident {INCIDENT} is assigned to ben"),
    (["comment", INCIDENT, "dish iced up"], {"args": {"text": "dish iced up"}}, "has the comment of ana"),
    (["resolve", INCIDENT, "--reason", "new cable"], {"reason": "new cable"}, "is resolved, by ana"),
    (["reopen", INCIDENT], {}, "is open again, by ana"),
]


@pytest.mark.e2e
def test_every_command_arrives_as_it_was_meant_and_is_answered(server: Server) -> None:
    with Flow(server, lambda command: {}):
        for words, meant, said in COMMANDS:
            done = run(server, *words)
            assert done.exit_code == 0, done.output
            assert said in done.stdout.replace("\n", " ")
            assert "\n→ " in done.stdout
            assert max(map(len, done.stdout.splitlines())) <= 80
            command = stored(server)[-1]
            expected = {"action": words[0], "incident_id": INCIDENT, "by": "ana", "ship_id": "aurora", **meant}
            assert {key: getattr(command, key) for key in expected} == expected
        ids = [command.command_id for command in stored(server)]
        assert len(set(ids)) == len(ids) == len(COMMANDS)


@pytest.mark.e2e
def test_a_silence_has_matchers_and_an_end_and_can_be_ended(server: Server) -> None:
    words = [
        "--match",
        "device_id=vsat-1",
        "--match",
        "rule=rf_*",
        "--for",
        "2h",
        "--reason",
        "dry dock",
        "--by",
        "ben",
    ]
    with Flow(server, lambda command: {"until": UNTIL} if command.action == "silence" else {}):
        made = run(server, "silence", *words)
        assert made.exit_code == 0, made.output
        (command,) = stored(server)
        assert (command.action, command.by, command.reason, command.incident_id) == ("silence", "ben", "dry dock", None)
        assert command.args == {"matchers": {"device_id": "vsat-1", "rule": "rf_*"}, "duration_s": 7200.0}
        assert "silenced by ben until 2026-03-01 02:00 UTC: device_id=vsat-1, rule=rf_*" in made.stdout
        assert f"\n  watchkeeper unsilence {command.command_id}\n" in made.stdout
        ended = run(server, "unsilence", command.command_id)
        assert ended.exit_code == 0, ended.output
        assert stored(server)[-1].args == {"silence_id": command.command_id}
        assert f"silence {command.command_id} is ended by ana" in ended.stdout


@pytest.mark.e2e
def test_the_vessel_flow_takes_what_is_sent_for_a_silence() -> None:
    """The contract of args, against the parser of the flow itself."""
    from operators.correlate.silences import parse_silence
    from policy.maintenance import SilenceLimits

    args = {"matchers": read_matchers(["device_id=vsat-1"]), "duration_s": read_duration("--for", "2h")}
    silence = parse_silence(args, silence_id="s", by="ana", reason="dock", now=UNTIL, limits=SilenceLimits())
    assert silence.expires_at - silence.starts_at == timedelta(hours=2)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [("unchanged", 0, "nothing to do: it is acknowledged"), ("refused", 1, "refused: it is acknowledged")],
)
def test_refused_is_a_failure_and_unchanged_is_not(server: Server, outcome: str, code: int, said: str) -> None:
    with Flow(server, lambda command: {"outcome": outcome, "reason": "it is acknowledged"}):
        done = run(server, "ack", INCIDENT)
    assert done.exit_code == code
    assert (done.stdout if code == 0 else done.stderr).startswith(said)
    assert done.output.endswith(f"→ next:\n  watchkeeper why {INCIDENT}\n")


@pytest.mark.e2e
def test_no_answer_in_time_is_said_and_the_command_is_kept(server: Server) -> None:
    with Flow(server, lambda command: None):
        done = run(server, "ack", INCIDENT, "--wait", "0.3")
    assert done.exit_code == 1
    (command,) = stored(server)
    assert done.stderr.startswith("no answer within 0.3 s; the command is stored")
    assert done.stderr.endswith(f"\n  watchkeeper why {command.command_id}\n")


@pytest.mark.e2e
def test_the_answer_to_another_command_is_not_taken_for_ours(server: Server) -> None:
    mine = make("ack")

    def answer_first(command: OpsCommand) -> dict[str, Any]:
        return {"reason": f"the {'right' if command.command_id == mine.command_id else 'wrong'} one"}

    with Flow(server, answer_first), capture_logs() as logs:
        outcome = send_command(server.config, mine, wait_s=5)
    assert [entry["event"] for entry in warnings(logs)] == ["audit_unreadable"]
    assert outcome.audit is not None
    assert (outcome.audit.command_id, outcome.audit.reason) == (mine.command_id, "the right one")


@pytest.mark.e2e
def test_a_command_sent_twice_is_stored_once(server: Server) -> None:
    mine = make("ack")
    for _ in range(2):
        assert send_command(server.config, mine, wait_s=0.1).audit is None
    assert [command.command_id for command in stored(server)] == [mine.command_id]


@pytest.mark.e2e
def test_a_nats_server_that_dies_while_we_wait_is_no_answer(server: Server) -> None:
    def die() -> None:
        until(lambda: server.info("OPS")["state"]["consumer_count"] > 0, what="somebody who waits for the answer")
        server.kill()

    mine = make("ack")
    killer = threading.Thread(target=die)
    killer.start()
    outcome = send_command(server.config, mine, wait_s=20)
    killer.join(10)
    assert outcome.audit is None
    assert not outcome.done
    assert "closed the connection" in str(outcome.problem)
    server.start()
    assert [command.command_id for command in stored(server)] == [mine.command_id]


def test_without_nats_it_says_so() -> None:
    with pytest.raises(NatsAwayError, match="cannot be reached"):
        send_command(NatsConfig(f"nats://127.0.0.1:{free_port()}"), make("ack"))
    done = run(None, "ack", INCIDENT)
    assert done.exit_code == 1
    assert done.stderr.startswith("watchkeeper: NATS at nats://127.0.0.1:")


@pytest.mark.e2e
def test_without_the_streams_it_says_what_to_do(tmp_path: Path) -> None:
    bare = Server(tmp_path / "bare").start()
    try:
        with pytest.raises(NatsError, match="stream OPS does not exist"):
            send_command(bare.config, make("ack"))
        bare.create("OPS", "ops.audit")
        with pytest.raises(NatsError, match=r"no stream takes ops\.command"):
            send_command(bare.config, make("ack"))
    finally:
        bare.stop()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ack", "6e1"], "expected its id, or at least the first 4 characters"),
        (["ack", INCIDENT, "--by", "x" * 300], "--by: "),
        (["ack", INCIDENT, "--reason", " "], "--reason is empty"),
        (["silence", "--match", "device_id", "--for", "2h", "--reason", "x"], "expected key=value"),
        (["silence", "--match", "devise_id=a", "--for", "2h", "--reason", "x"], "did you mean device_id?"),
        (["silence", "--match", "zzz=a", "--for", "2h", "--reason", "x"], "expected one of ship_id, incident_type"),
        (["silence", "--match", "rule=a", "--match", "rule=b", "--for", "2h", "--reason", "x"], "rule is given twice"),
        (["silence", "--match", "device_id=*", "--for", "2h", "--reason", "x"], "would silence the whole ship"),
        (["silence", "--match", "rule=a", "--for", "soon", "--reason", "x"], "--for is 'soon': expected for example"),
        (["silence", "--match", "rule=a", "--for", "0s", "--reason", "x"], "--for is '0s': expected for example"),
        (["silence", "--match", "rule=a", "--for", "9999d", "--reason", "x"], "expected at most 365d"),
        (["resolve", INCIDENT], "Missing option '--reason'"),
        (["silence", "--for", "2h", "--reason", "x"], "Missing option '--match'"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(words: list[str], said: str) -> None:
    done = run(None, *words)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_nobody_is_not_an_owner() -> None:
    done = run(None, "ack", INCIDENT, USER="", LOGNAME="")
    assert done.exit_code == 2
    assert "--by is missing" in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1d", 86_400), ("1d2h3m4s", 93_784), (" 5s ", 5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration("--for", text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-2h", "2", "2h 3m", "1m1h", "1.5h", "٣h2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(CommandError):
        read_duration("--for", text)


def test_the_words_about_an_unknown_end_and_a_problem() -> None:
    command = make("silence", incident_id=None, args={"matchers": {"rule": "x"}, "duration_s": 60})
    words = explain_outcome(Outcome(command, of(command)), 5)
    assert words.said == "silenced by ana: rule=x"
    assert words.following == f"unsilence {command.command_id}"
    words = explain_outcome(Outcome(command, None, "the line broke"), 5)
    assert words.said.startswith("no answer within 5 s (the line broke);")


@pytest.fixture
def api_port(api: ApiClient) -> Iterator[int]:
    http = build_server(api.app, "127.0.0.1", 0, signals=False)
    thread = threading.Thread(target=http.run)
    thread.start()
    yield http.port
    http.should_exit = True
    thread.join(10)


@pytest.mark.e2e
def test_an_incident_may_be_named_by_its_beginning(server: Server, archive: Archive, api_port: int) -> None:
    one = incident("a", 1, incident_id="abcd1111-0000-8000-8000-000000000001", ship_id="borealis")
    two = incident("b", 2, incident_id="abcd2222-0000-8000-8000-000000000002")
    archive.add(row_of(one), row_of(two))
    with Flow(server, lambda command: {}):
        done = run(server, "ack", "ABCD1", port=api_port)
        assert done.exit_code == 0, done.output
    (command,) = stored(server)
    assert (command.incident_id, command.ship_id) == (one.incident_id, "borealis")
    several = run(server, "ack", "abcd", port=api_port)
    assert several.exit_code == 2
    assert one.incident_id in several.stderr
    assert two.incident_id in several.stderr
    none = run(server, "ack", "ffff", port=api_port)
    assert none.exit_code == 2
    assert "no incident's id begins with ffff" in none.stderr
    away = run(server, "ack", "abcd1")
    assert away.exit_code == 1
    assert "does not answer" in away.stderr
    assert len(stored(server)) == 1


def test_a_whole_id_needs_no_api() -> None:
    nobody: Any = None
    assert find_target("incident", f" {INCIDENT.upper()} ", nobody, "aurora") == (INCIDENT, "aurora")


@pytest.mark.e2e
@pytest.mark.slow
def test_the_real_system_answers_and_why_explains(tmp_path: Path) -> None:
    line = json.dumps({"device_id": "gw-1", "level": "error", "msg": "Failed password for root from 203.0.113.7"})
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("devices:\n  fw-1: {device_type: firewall}\n  gw-1: {depends_on: [fw-1]}\n")
    with running(tmp_path / "data", "--no-demo", "--no-host-metrics") as ship:

        def watch(*words: str) -> subprocess.CompletedProcess[str]:
            environment = {
                **os.environ,
                "NATS_URL": ship.nats_url,
                "WATCHKEEPER_API_PORT": str(ship.port),
                "USER": "ana",
                "COLUMNS": "80",
            }
            return subprocess.run(
                [str(WATCHKEEPER), *words], capture_output=True, text=True, env=environment, timeout=60
            )

        refused = watch("ack", INCIDENT)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        assert refused.stderr.startswith("refused: ")
        imported = watch("devices", "import", str(inventory))
        assert imported.returncode == 0, imported.stderr
        assert "2 new: fw-1, gw-1" in imported.stdout
        until(lambda: "gw-1" in watch("devices", "list").stdout, seconds=20, what="the device in the list")
        ship.publish(*[("logs.ingested.security.sshd", line.encode())] * 3)
        found = until(ship.incidents, seconds=30, what="an incident")[0]
        told = watch("why", found["incident_id"][:8])
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith(f"incident {found['incident_id']}, ship ")
        assert "You were told at" in told.stdout
        assert f"watchkeeper ack {found['incident_id']}\n" in told.stdout
        unknown = watch("why", "ffffffff")
        assert unknown.returncode == 1
        assert "nothing is known of ffffffff" in unknown.stderr
