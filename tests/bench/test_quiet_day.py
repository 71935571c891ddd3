import json
from datetime import timedelta
from pathlib import Path

import pytest

from compose.demo.ship import DemoShip
from operators.capture import CapturePartition, CaptureSource
from tests.bench.quiet_day import ARRIVAL, START, Day, QuietShip, figures, live, main, messages

MINUTES_4 = 4 / 60


def test_the_quiet_ship_is_the_demo_ship_where_that_has_no_fault() -> None:
    quiet, demo = (list(messages(make(7), START, 9 / 3600)) for make in (QuietShip, DemoShip))
    assert quiet == demo  # the first fault begins after ten seconds
    quiet, demo = (list(messages(make(7), START, 30 / 3600)) for make in (QuietShip, DemoShip))
    assert quiet != demo
    assert not any(b"Failed password" in message.data for message in quiet)
    assert any(b"Failed password" in message.data for message in demo)


def test_messages_and_ticks_are_those_of_the_same_ship_captured(tmp_path: Path) -> None:
    path, ship, sequence = tmp_path / "ship.ndjson", QuietShip(3), 0
    with path.open("w") as file:
        for second in range(20):
            t = START + timedelta(seconds=second)
            for subject, payload in (ship.inventory() if second == 0 else []) + ship.step(t):
                sequence += 1
                line = {"seq": sequence, "subject": subject, "ts": (t + ARRIVAL).isoformat(), "headers": {}}
                file.write(json.dumps({**line, "data": json.dumps(payload)}) + "\n")
    part = CaptureSource([path], batch=10_000).build_part("telemetry", "capture", None)
    assert isinstance(part, CapturePartition)
    expected = [message._replace(identity=1) for message in part.next_batch()]
    assert list(messages(QuietShip(3), START, 20 / 3600)) == expected
    assert sum(message.tick for message in expected) == 20


def test_a_ship_with_faults_is_not_quiet_so_the_bench_can_fail() -> None:
    said = live(Day("poc", 7, MINUTES_4), DemoShip)
    assert said.incidents >= 2
    assert said.anomalies["pattern.log_pattern"] > 0
    assert any("auth_attack" in line for line in said.lines)


def test_figures_are_a_day_s(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.quiet_day.live", lambda day: live(day, DemoShip))
    by_name = {figure.name: figure for figure in figures([Day("poc", 7, MINUTES_4)], jobs=1)}
    incidents = by_name["quiet_day.poc.seed7.incidents"]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("quiet_day.poc.seed7: incident ")]
    assert incidents.value == pytest.approx(len(told) * 24 / MINUTES_4)
    assert incidents.floor == 2.0


@pytest.mark.parametrize("profile", ["poc", "core-fast", "full"])
def test_minutes_without_faults_are_quiet(profile: str) -> None:
    said = live(Day(profile, 1, MINUTES_4))
    assert (said.incidents, said.dead_letters, said.lines) == (0, 0, [])


def test_a_day_without_hours_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--hours", "0"])
    assert "--hours must be above 0" in capsys.readouterr().err
