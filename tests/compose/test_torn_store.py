"""A recovery store that is torn, full or gone: one clear line, exit code 1, and never a start from nothing."""

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from compose.recovery import RecoveryError, prepare_recovery
from tests.compose.test_launch import finish, running, wait_counted, wait_ready
from tests.support.disk import fill


def store_of(data: Path) -> Path:
    return data / "recovery" / "vessel"


def ours(err: str) -> list[str]:
    """What we said ourselves (Rust announces its panics on the same channel)."""
    return [json.loads(line)["error"] for line in err.splitlines() if line.startswith("{") and '"error"' in line]


def run_once(data: Path, seconds_of_state: bool = True) -> None:
    with running("count", data) as (process, port):
        wait_ready(port)
        if seconds_of_state:
            wait_counted(port)
        process.send_signal(signal.SIGTERM)
        assert finish(process)[0] == 0


def refused(data: Path) -> str:
    with running("count", data) as (process, _):
        code, out, err = finish(process)
    assert (code, out) == (1, ""), err
    assert "Traceback" not in err
    [said] = ours(err)
    assert str(store_of(data)) in said
    return said


def test_a_deleted_store_is_noticed(tmp_path: Path) -> None:
    run_once(tmp_path)
    shutil.rmtree(store_of(tmp_path))
    for _ in range(2):  # it stays refused
        said = refused(tmp_path)
        assert "the recovery store is gone (it was made 20" in said
        assert "watchkeeper recover vessel" in said


def test_a_store_of_before_there_were_markers_gets_one(tmp_path: Path) -> None:
    run_once(tmp_path)
    (tmp_path / "recovery" / ".vessel.made").unlink()
    run_once(tmp_path)
    shutil.rmtree(store_of(tmp_path))
    assert "is gone" in refused(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.4, 0.9])
def test_a_truncated_store_is_refused(tmp_path: Path, part: float) -> None:
    run_once(tmp_path)
    path = store_of(tmp_path) / "part-0.sqlite3"
    os.truncate(path, int(path.stat().st_size * part))
    said = refused(tmp_path)
    assert "not a readable recovery store" in said
    assert "watchkeeper recover vessel" in said


def test_a_store_that_lost_its_last_pages_only_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vessel"
    prepare_recovery(folder)
    path = folder / "part-0.sqlite3"
    os.truncate(path, path.stat().st_size - 4096)
    with pytest.raises(RecoveryError, match=r"not a readable recovery store .*watchkeeper recover vessel"):
        prepare_recovery(folder)


def test_a_wrong_number_of_partitions_is_refused(tmp_path: Path) -> None:
    run_once(tmp_path)
    shutil.rmtree(store_of(tmp_path))
    store_of(tmp_path).mkdir()
    init_db_dir(store_of(tmp_path), 3)
    said = refused(tmp_path)
    assert "expected a recovery store of 1 partition, found 3 file(s) of a store of 3" in said
    assert "watchkeeper recover vessel" in said


def test_an_emptied_folder_is_refused(tmp_path: Path) -> None:
    run_once(tmp_path)
    for path in store_of(tmp_path).iterdir():
        path.unlink()
    assert "found 0 file(s)" in refused(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system of its own can be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_at_an_epoch_ends_the_flow_with_the_remedy_and_loses_nothing(small_disk: Path) -> None:
    run_once(small_disk)
    with running("count", small_disk) as (process, port):
        wait_ready(port)
        wait_counted(port)
        filler = fill(small_disk)
        code, out, err = finish(process)
    assert code == 1, err
    committed = int(out.split()[1])
    assert committed > 0
    [said] = ours(err)
    assert f"{store_of(small_disk)}: the disk is full" in said
    assert "make room and start again, what was committed is kept" in said
    assert "Traceback" not in err

    with running("count", small_disk) as (process, _):  # still full
        code, _, err = finish(process)
    assert code == 1, err
    assert "KiB are free there; make room and start again" in ours(err)[0]

    filler.unlink()
    with running("count", small_disk) as (process, port):
        wait_counted(port)
        process.send_signal(signal.SIGTERM)
        code, out, err = finish(process)
    assert code == 0, err
    assert int(out.split()[1]) >= committed


def test_a_disk_that_is_full_at_the_first_start_leaves_no_half_store(small_disk: Path) -> None:
    filler = fill(small_disk)
    with running("count", small_disk) as (process, _):
        code, _, err = finish(process)
    assert code in (1, 2), err
    assert "Traceback" not in err
    [said] = ours(err)
    assert "No space left" in said or "KiB are free" in said
    filler.unlink()
    run_once(small_disk)


def test_a_disk_that_takes_no_more_of_a_file_ends_the_flow_with_the_remedy(tmp_path: Path) -> None:
    """What a quota does; needs no file system of its own."""
    with running("count", tmp_path) as (process, port):
        wait_ready(port)
        wait_counted(port)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        code, _, err = finish(process)
    assert code == 1, err
    [said] = ours(err)
    assert f"{store_of(tmp_path)}: the recovery store failed" in said
    assert "Check the disk and who may write there" in said
    assert "Traceback" not in err
    run_once(tmp_path)


@pytest.mark.parametrize("damage", ["other version", "other shape"])
def test_state_that_this_version_cannot_read_is_refused(tmp_path: Path, damage: str) -> None:
    with running("stateful", tmp_path) as (process, port):
        wait_ready(port)
        wait_counted(port)
        process.send_signal(signal.SIGTERM)
        assert finish(process)[0] == 0
    with running("stateful_later" if damage == "other version" else "stateful_broken", tmp_path) as (process, _):
        code, _, err = finish(process)
    assert code == 1, err
    [said] = ours(err)
    assert "the stored state of keeper cannot be used" in said
    assert "watchkeeper recover vessel" in said
    assert "Traceback" not in err
