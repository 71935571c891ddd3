"""What docs/reliability.md names exists."""

import re
from pathlib import Path

from typer.testing import CliRunner

from operators.observability import FlowMetrics
from policy import load_policy
from schemas.settings import Settings
from watchkeeper import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text()


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\((\.\./[^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link


def test_the_commands_exist() -> None:
    commands = re.findall(r"^\.venv/bin/watchkeeper (.+)$", TEXT, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = command.split()
        assert CliRunner().invoke(app, [words[0], "--help"]).exit_code == 0


def test_the_settings_metrics_and_types_exist() -> None:
    for name in re.findall(r"WATCHKEEPER_([A-Z_]+)", TEXT):
        assert name.lower() in Settings.model_fields, name
    known = {metric.name for metric in FlowMetrics("docs").registry.collect()}
    for name in re.findall(r"`(watchkeeper_\w+)`", TEXT):
        assert name in known, name
    assert "telemetry_gap" in load_policy(None).default.correlate.incident_types
