"""The set-up finds a Python, or says what to do; the lock holds hashes; imports go one way."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("bash", "dirname", "rm", "env")


def set_up(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/venv.sh on a machine that has these programs (name=shell script) and little else."""
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))
    for name, script in programs.items():
        program = path / name.replace("_", ".")
        program.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        program.chmod(0o755)
    command = [str(shutil.which("bash")), str(ROOT / "scripts" / "venv.sh"), str(folder / "venv")]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60)


def test_without_a_python_it_says_what_to_do(tmp_path: Path) -> None:
    done = set_up(tmp_path, python3="exit 1")
    assert done.returncode == 1
    assert "needs Python 3.11 or 3.12" in done.stderr
    assert "apt-get install" in done.stderr


def test_without_a_python_uv_is_asked_for_one(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    done = set_up(tmp_path, uv=f'echo "$@" >> {asked}; exit 1')
    assert done.returncode == 1
    assert asked.read_text().splitlines() == ["python install 3.12"]
    assert "uv fetches one" in done.stderr


def test_a_python_that_will_not_do_is_passed_over(tmp_path: Path) -> None:
    """The first Python found is used to make the environment; here it only notes that it was asked."""
    noted = tmp_path / "noted"
    usable = f'case "$1" in -c) exit 0;; *) echo "$@" > {noted}; exit 3;; esac'
    done = set_up(tmp_path, python3_12="exit 127", python3_11=usable)
    assert done.returncode == 3
    assert noted.read_text().split()[:2] == ["-m", "venv"]


def test_every_dependency_is_locked_with_hashes_and_for_both_pythons() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    names = re.findall(r"^([a-z0-9_.-]+)==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(names) > 50
    assert lock.count("--hash=sha256:") >= len(names)
    assert "http" not in re.sub(r"^http(core|x)==.*", "", lock, flags=re.MULTILINE)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_nothing_is_imported_against_the_layers() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
