"""What docs/correlation.md shows works as it stands there, and what it names exists."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.correlate.classify import classify
from operators.correlate.maintenance import Maintenance
from policy import PolicySet, load_policy
from schemas.base import Severity
from schemas.incident import IncidentEvent, SuppressionKind
from tests.support.make import at, enriched
from tests.support.ship import POLICY
from watchkeeper import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "correlation.md").read_text()
POLICIES = re.findall(r"^```yaml\n# (\w+\.yaml)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\.venv/bin/watchkeeper (\w+)", TEXT, re.MULTILINE)


@pytest.fixture
def shown(tmp_path: Path) -> PolicySet:
    """The policy with all that the text shows."""
    for name, text in POLICIES:
        (tmp_path / name).write_text(text)
    return load_policy(tmp_path)


def test_the_rules_do_what_the_text_says(shown: PolicySet) -> None:
    finding = enriched(0, domain="net", rule="link_down", incident_type="network_issue")
    on_modem = classify(finding, shown.default, "modem")
    assert (on_modem.incident_type, on_modem.severity) == ("comms_outage", Severity.CRITICAL)
    assert classify(finding, shown.default, "router").incident_type == "network_issue"
    silent = classify(enriched(0, anomaly_type="stale", incident_type=None), shown.default)
    assert (silent.incident_type, silent.terms.min_events) == ("stale_telemetry", 2)
    assert len(shown.default.correlate.rules) == 3
    assert shown.default.correlate.incident_types.keys() == POLICY.correlate.incident_types.keys()


def test_the_window_is_open_across_midnight(shown: PolicySet) -> None:
    maintenance = Maintenance(shown.default.maintenance.windows)
    assert [each.name for each in maintenance.active(at(0))] == ["backup"]
    assert maintenance.next_change(at(0)) == at(1800)


def test_the_commands_exist() -> None:
    assert len(COMMANDS) == 10
    for command in COMMANDS:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_every_event_and_every_kind_of_suppression_is_explained() -> None:
    for name in (*IncidentEvent.__args__, *SuppressionKind.__args__):  # type: ignore[attr-defined]
        assert re.search(rf"^\|.*\b{name}\b", TEXT, re.MULTILINE), name


def test_numbers_and_links_are_right() -> None:
    correlate, silences = POLICY.correlate, POLICY.maintenance.silences
    assert f"`max_open_incidents` ({correlate.max_open_incidents:,})" in TEXT
    assert f"`max_evidence` ({correlate.max_evidence}) " in TEXT
    assert f"`max_timeline` ({correlate.max_timeline}) " in TEXT
    assert f"`suppression_ttl_s` ({correlate.suppression_ttl_s / 60:g} min)" in TEXT
    assert silences.max_active >= 1000
    assert {kind.bridge for name, kind in correlate.incident_types.items() if name != "auth_attack"} == {()}
    assert f"`bridge: [{', '.join(correlate.incident_types['auth_attack'].bridge)}]`" in TEXT
    for link in re.findall(r"\]\(((?:\.\./)[^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link


def test_the_readme_leads_here() -> None:
    assert "(docs/correlation.md)" in (ROOT / "README.md").read_text()
