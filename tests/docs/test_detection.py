"""What docs/detection.md shows works as it stands there."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.detect.choose import SHIPPED
from operators.detect.custom import check_custom
from operators.detect.slot import DetectSlot
from policy import load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from tests.support.make import event, sample
from watchkeeper import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "detection.md").read_text()
BLOCKS = dict(re.findall(r"^```(python|yaml)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "slew.py").write_text(BLOCKS["python"])
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "detect.yaml").write_text(BLOCKS["yaml"])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("slew", None)


def test_the_detector_takes_one_file_and_one_policy_entry(own: Path) -> None:
    policies = load_policy(own)
    check_custom(policies)
    slot = DetectSlot(policies, max_series=10)
    found = [
        out.body
        for n, value in enumerate([3.0, 4.0, 80.0, 81.0, *[80.0] * 40])
        for out in slot.process(event(sample(5.0 * n, value, metric_name="rudder_deg")))
        if isinstance(out, Event) and isinstance(out.body, AnomalyDetected)
    ]
    assert [each.state for each in found] == ["firing", "cleared"]
    assert [vote.detector for vote in found[0].votes] == ["slew"]
    assert "4 became 80, 25 is usual" in found[0].msg


def test_a_class_that_is_missing_is_refused(own: Path) -> None:
    (own / "detect.yaml").write_text(BLOCKS["yaml"].replace("slew:Slew", "slew:Slow"))
    result = CliRunner().invoke(app, ["policy", "check", "--policy", str(own)])
    assert result.exit_code == 2
    assert "Slow" in result.output + result.stderr


def test_every_detector_and_picture_is_named() -> None:
    for name in (*SHIPPED, "threshold", "stale"):
        assert f"(../operators/detect/{name}.py)" in TEXT
    for link in re.findall(r"\]\(((?:\.\./|pictures/)[^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link


def test_the_commands_exist() -> None:
    for command in re.findall(r"^\.venv/bin/watchkeeper (\w+)", TEXT, re.MULTILINE):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
