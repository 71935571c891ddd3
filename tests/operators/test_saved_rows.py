"""Rows that are kept ready say what rows made at once would say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.detect import saved_rows
from operators.detect.samples import SampleTable
from operators.detect.saved_rows import Row, unpack_rows
from operators.detect.silence_board import SilenceNote
from policy import load_policy
from tests.support.make import event, sample, tick
from tests.support.snapshots import meaning

POLICY = load_policy(None)
DAY = 86_400.0


def table() -> SampleTable:
    return SampleTable(POLICY, max_series=8)


def feed(to: SampleTable, step: tuple[int, int]) -> None:
    """One of: a sample of one of ten series, a tick, the passing of more than the expiry."""
    second, what = step
    at = second * 300.0
    if what < 10:
        labels = {"port": str(what)} if what % 2 else {}
        body = sample(at, 20.0 + what, metric_name=f"m{what // 3}", device_id=f"d{what % 4}", labels=labels)
        list(to.take(event(body), body))
        to.settle()
    elif what < 15:
        list(to.tick(tick(at)))
    else:
        list(to.expire(tick(at + 7 * DAY - 3000)))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_rows, "MAX_CHANGED", 2)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 15), max_size=60), st.integers(1, 7))
def test_snapshots_between_change_nothing(whats: list[int], every: int) -> None:
    saved_rows.MAX_CHANGED = 2
    often, once = table(), table()
    for number, what in enumerate(whats):
        feed(often, (number, what))
        feed(once, (number, what))
        if number % every == 0:
            often.snapshot()
    again = table()
    again.restore(once.snapshot())
    assert meaning(often.snapshot()) == meaning(once.snapshot()) == meaning(again.snapshot())


def test_a_snapshot_packs_what_changed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    to = table()
    for what in range(8):
        feed(to, (0, what))
    packed: list[Row] = []
    pack = saved_rows.pack_row

    def counted(row: Row, dictionary: bytes) -> bytes:
        packed.append(row)
        return pack(row, dictionary)

    monkeypatch.setattr(saved_rows, "pack_row", counted)
    assert len(unpack_rows(to.snapshot()["series"])) == 8
    assert len(packed) == 2, "six were packed as they came"
    feed(to, (1, 3))
    before = to.snapshot()
    assert len(packed) == 3
    assert to.snapshot() == before
    assert len(packed) == 3


@pytest.mark.parametrize("kind", ["watched", "silent"])
def test_what_a_tick_changes_is_packed(kind: str) -> None:
    often, once = table(), table()
    for to in (often, once):
        for second in range(0, 300, 10):
            body = sample(float(second), 20.0)
            list(to.take(event(body), body))
    said: list[str] = []
    at = 301.0
    while kind not in said and at < 3000.0:
        often.snapshot()
        said += [note.kind for note in often.tick(tick(at)) if isinstance(note, SilenceNote)]
        list(once.tick(tick(at)))
        at += 100.0
    assert said[-1] == kind
    assert meaning(often.snapshot()) == meaning(once.snapshot())
