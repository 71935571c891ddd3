import json
import threading
import time
from pathlib import Path

import pytest
import structlog

from operators.jetstream import NatsConfig, NatsError, StreamConflict, ensure_streams
from operators.jetstream.streams import compare, stream_config
from schemas.settings import Settings, StreamSettings, default_streams
from tests.support.nats import Server, until, warnings

WANTED = StreamSettings(subjects=("s.>",), max_age_s=3600, max_bytes=1_000_000)


@pytest.mark.e2e
def test_missing_streams_are_created_as_the_settings_say(nats_server: Server) -> None:
    table = default_streams()
    assert ensure_streams(nats_server.config, table) == []
    for name, wanted in table.items():
        config = nats_server.info(name)["config"]
        assert config["storage"] == "file"
        assert config["retention"] == "limits"
        assert sorted(config["subjects"]) == sorted(wanted.subjects)
        assert config["max_age"] == wanted.max_age_s * 10**9
        assert config["max_bytes"] == wanted.max_bytes
        assert config["discard"] == wanted.discard
        assert config["duplicate_window"] == wanted.duplicate_window_s * 10**9
    assert ensure_streams(nats_server.config, table) == []


@pytest.mark.e2e
def test_a_conflict_is_reported_and_nothing_overwritten(nats_server: Server) -> None:
    nats_server.create("S", "other.>", storage="memory", max_bytes=5, duplicate_window=10**9, discard="new")
    nats_server.api("STREAM.UPDATE.S", nats_server.info("S")["config"] | {"max_age": 5 * 10**9})
    before = nats_server.info("S")["config"]
    with structlog.testing.capture_logs() as logs:
        conflicts = ensure_streams(nats_server.config, {"S": WANTED})
    assert nats_server.info("S")["config"] == before
    assert {(c.setting, c.wanted, c.actual) for c in conflicts} == {
        ("subjects", "s.>", "other.>"),
        ("storage", "file", "memory"),
        ("max_age", "3600 s", "5 s"),
        ("max_bytes", "1000000", "5"),
        ("discard", "old", "new"),
        ("duplicate_window", "120 s", "1 s"),
    }
    assert len(logs) == len(conflicts)
    assert all(entry["log_level"] == "warning" and entry["remedy"] for entry in logs)
    assert {(entry["wanted"], entry["actual"]) for entry in logs} == {(c.wanted, c.actual) for c in conflicts}


def test_the_order_of_subjects_is_no_conflict() -> None:
    wanted = StreamSettings(subjects=("b", "a"), max_age_s=1, max_bytes=1)
    assert compare("S", wanted, stream_config("S", wanted) | {"subjects": ["a", "b"]}) == []
    assert compare("S", wanted, stream_config("S", wanted) | {"max_bytes": 2}) == [
        StreamConflict("S", "max_bytes", "1", "2")
    ]


@pytest.mark.e2e
def test_subjects_that_another_stream_takes_are_refused_by_name(nats_server: Server) -> None:
    nats_server.create("OTHER", "s.>")
    with pytest.raises(NatsError, match=r"stream S .*overlap.*delete or change the other stream"):
        ensure_streams(nats_server.config, {"S": WANTED})


@pytest.mark.e2e
def test_nats_down_at_start_then_up(nats_server: Server) -> None:
    nats_server.stop()
    result: list[object] = []

    def work() -> None:
        result.append(ensure_streams(nats_server.config, {"S": WANTED}))

    with structlog.testing.capture_logs() as logs:
        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: len(warnings(logs)) >= 3, what="three attempts")
        nats_server.start()
        thread.join(15)
    assert result == [[]]
    for entry in warnings(logs)[:3]:
        assert nats_server.url in entry["event"]
        assert "start nats-server" in entry["event"]
        assert "\n" not in entry["event"]
        assert "exc_info" not in entry
    assert nats_server.last_sequence("S") == 0


@pytest.mark.e2e
def test_stop_and_wait_end_the_waiting(nats_server: Server) -> None:
    nats_server.stop()
    stop = threading.Event()
    stop.set()
    with pytest.raises(NatsError, match="stopped while waiting"):
        ensure_streams(nats_server.config, {"S": WANTED}, stop=stop)
    begin = time.monotonic()
    with pytest.raises(NatsError, match=r"gave up after 0.5 s"):
        ensure_streams(nats_server.config, {"S": WANTED}, wait_s=0.5)
    assert time.monotonic() - begin < 3


@pytest.mark.e2e
def test_wrong_password_is_an_error_at_once_and_not_shown(nats_server: Server) -> None:
    nats_server.stop()
    nats_server.login = ("watch", "right")
    nats_server.start()
    with pytest.raises(NatsError, match="refused us") as caught:
        ensure_streams(NatsConfig(nats_server.url, "watch", "wrong-pw"), {"S": WANTED})
    assert "wrong-pw" not in str(caught.value)
    assert ensure_streams(nats_server.config, {"S": WANTED}) == []


@pytest.mark.parametrize("url", ["", "http://x:1", "nats://", "nats://x:99999", "localhost:4222", "nats://a:1,oops"])
def test_addresses_that_cannot_be_right_are_refused(url: str) -> None:
    with pytest.raises(NatsError, match=r"NATS_URL is .* expected for example nats://127"):
        NatsConfig(url)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    config = NatsConfig("nats://u:pw123@h:4222,nats://h2:4222", "me", "pw456")
    assert config.shown == "nats://***@h:4222,nats://h2:4222"
    assert "pw456" not in repr(config)
    with pytest.raises(NatsError, match="together"):
        NatsConfig("nats://h:4222", "me")
    with pytest.raises(NatsError, match="does not exist"):
        NatsConfig("nats://h:4222", credentials=tmp_path / "no.creds")


def test_config_comes_from_the_settings() -> None:
    settings = Settings.load(nats_url="nats://h:1", nats_user="me", nats_password="pw")
    assert NatsConfig.of(settings) == NatsConfig("nats://h:1", "me", "pw")
    assert json.dumps(NatsConfig.of(settings).servers) == '["nats://h:1"]'
