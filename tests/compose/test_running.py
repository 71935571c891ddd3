"""Whether a system runs on a data folder, and where its parts listen."""

from pathlib import Path

from compose.locks import FileLock
from compose.running import LOCK, Running, find_running, leave, take_away

HERE = Running("http://127.0.0.1:18080", None, {"vessel": "127.0.0.1:9"})


def test_a_running_system_is_found_by_its_lock_and_where_it_listens(tmp_path: Path) -> None:
    with FileLock(tmp_path / LOCK, "the data folder"):
        assert find_running(tmp_path) is None
        leave(tmp_path, HERE)
        assert find_running(tmp_path) == HERE
        take_away(tmp_path)
        assert find_running(tmp_path) is None


def test_what_a_crash_left_is_not_a_running_system_and_nothing_is_made(tmp_path: Path) -> None:
    with FileLock(tmp_path / LOCK, "the data folder"):
        leave(tmp_path, HERE)
    assert find_running(tmp_path) is None
    assert find_running(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


def test_a_file_of_another_version_is_no_error(tmp_path: Path) -> None:
    with FileLock(tmp_path / LOCK, "the data folder"):
        for text in ("{}", "[1]", "", '{"api": 1, "other": 2}'):
            (tmp_path / "up.json").write_text(text)
            assert find_running(tmp_path) is None
