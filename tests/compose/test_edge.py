"""What a command prints to go on with can be pasted into the same shell."""

import shutil
import sys

import pytest

from compose.cli.edge import pasteable

API = "http://127.0.0.1:18080"


@pytest.mark.parametrize(
    ("typed", "api", "command", "printed"),
    [
        ("/x/.venv/bin/watchkeeper", None, "watchkeeper why 1", "/x/.venv/bin/watchkeeper why 1"),
        (".venv/bin/watchkeeper", API, "watchkeeper why 1", f".venv/bin/watchkeeper why 1 --api {API}"),
        (".venv/bin/watchkeeper", API, "watchkeeper devices list", f".venv/bin/watchkeeper devices list --api {API}"),
        (".venv/bin/watchkeeper", API, "watchkeeper policy show", ".venv/bin/watchkeeper policy show"),
        (".venv/bin/watchkeeper", API, "see detect.patterns", "see detect.patterns"),
        ("/usr/lib/python3/runpy.py", None, "watchkeeper why 1", "watchkeeper why 1"),
    ],
)
def test_a_next_step_is_by_the_name_and_to_the_api_of_this_call(
    monkeypatch: pytest.MonkeyPatch, typed: str, api: str | None, command: str, printed: str
) -> None:
    monkeypatch.setattr(sys, "argv", [typed])
    assert pasteable(command, api) == printed


def test_what_the_shell_finds_by_its_name_is_called_by_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = tmp_path_factory.mktemp("bin") / "watchkeeper"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert shutil.which("watchkeeper") == str(program)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert pasteable("watchkeeper why 1") == "watchkeeper why 1"
