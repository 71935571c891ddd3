"""The commands of docs/correlation.md, one after the other, on a running system."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.test_fast_path import attack, of_device
from tests.e2e.test_readme import ROOT, _asked, _url
from tests.support.nats import until
from tests.support.system import Ship

pytestmark = pytest.mark.e2e

TEXT = (ROOT / "docs" / "correlation.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/(watchkeeper .+)$", TEXT, re.MULTILINE)
API = {"ack", "assign", "comment", "resolve", "reopen", "silences", "unsilence", "why", "devices import"}


def silences(ship: Ship) -> list[str]:
    done = _asked(ship, "silences", "--json", "--api", _url(ship))
    return [each["silence_id"] for each in json.loads(done.stdout) if each["reason"] == "dish is serviced"]


def test_every_command_does_what_it_says(tmp_path: Path, ship: Ship) -> None:
    ship.publish(*attack("gw-docs"))
    (incident,) = until(lambda: of_device(ship, "gw-docs"), seconds=20, what="an incident")
    inventory = tmp_path / "devices.yaml"
    inventory.write_text("devices:\n  gw-docs: {device_type: gateway}\n")
    names = {"INCIDENT": incident["incident_id"], "ID": incident["incident_id"], "FILE": str(inventory)}
    for command in COMMANDS:
        if "SILENCE" in command:
            (names["SILENCE"],) = until(lambda: silences(ship), seconds=10, what="the silence in the list")
        words = [names.get(word, word) for word in shlex.split(command)[1:]]
        api = ("--api", _url(ship)) if words[0] in API or " ".join(words[:2]) in API else ()
        done = _asked(ship, *words, *api)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    until(lambda: not silences(ship), seconds=10, what="a list without the silence")
    done_by_ana = ["acknowledged", "assigned", "commented", "resolved", "reopened"]
    until(lambda: _events_by_ana(ship) == done_by_ana, seconds=10, what="all of it on the timeline")


def _events_by_ana(ship: Ship) -> list[str]:
    return [each["event"] for each in of_device(ship, "gw-docs")[0]["timeline"] if each["by"] == "ana"]
