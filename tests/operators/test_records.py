from math import log1p, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detect.records import Records, View

VIEWS = (View("a", 2.0, 0.3, 5), View("b", 1.0, 1.0, 12))
ROWS = st.lists(st.tuples(st.integers(-50, 50).map(float), st.integers(-5, 5).map(float)), min_size=2, max_size=90)


def by_definition(rows: list[tuple[float, ...]], first_epoch: int, max_epoch: int) -> list[tuple[float, float]]:
    """The score and size of every row, each from the whole history anew."""
    ends, length = [0], first_epoch
    while ends[-1] < len(rows):
        ends.append(ends[-1] + length)
        length = min(2 * length, max_epoch)
    found = [(0.0, 0.0)]
    records: list[list[int]] = [[] for _ in VIEWS]
    for i in range(1, len(rows)):
        # an epoch ends with the row that is its last; that row also begins the next
        epoch = max(number for number, end in enumerate(ends) if end < i or end == 0)
        start, before = ends[epoch], ends[epoch - 1] if epoch else 0
        score = size = 0.0
        for view, (_, weight, half, warm, _) in enumerate(VIEWS):
            past = [row[view] for row in rows[before:i]]
            x, low, high = rows[i][view], min(past), max(past)
            excess = max(x - high, low - x)
            if excess <= 0.0 or excess <= 1e-6 * (high - low):
                continue
            beyond = excess / (high - low) if high > low else 1.0
            count = i - 1 - start + (start - before)
            known = sum(1 for at in records[view] if at > before)
            rarity = min(log10((count + 2) / (known + 1)) / 3, 4 / 3)
            if i >= warm and rarity > 0:
                score += weight * beyond / (beyond + half) * rarity**2 / 3.0
                size += weight * log1p(beyond / half) / 3.0
            if i >= 10:
                records[view].append(i)
        found.append((score, size))
    return found


@given(ROWS, st.integers(3, 30), st.integers(30, 60))
def test_scores_are_those_of_the_definition(rows: list[tuple[float, ...]], first: int, most: int) -> None:
    machine = Records(VIEWS, first_epoch=first, max_epoch=most)
    found = [(machine.update(row), machine.size) for row in rows]
    for got, expected in zip(found, by_definition(rows, first, most), strict=True):
        assert got == pytest.approx(expected, abs=1e-12)


def test_only_a_value_beyond_everything_before_scores_and_further_beyond_scores_more() -> None:
    def last(value: float) -> float:
        machine = Records(VIEWS)
        for i in range(500):
            machine.update((float(i % 10), 0.0))
        return machine.update((value, 0.0))

    assert last(9.0) == 0.0
    assert 0.0 < last(10.0) < last(20.0) < last(1e6)


def test_the_record_that_says_most_is_named_with_the_range_before() -> None:
    machine = Records(VIEWS)
    for i in range(500):
        machine.update((float(i % 10), float(i % 3)))
    machine.update((90.0, 2.5))
    broken = machine.broken
    assert broken is not None
    assert (broken.view, broken.value, broken.low, broken.high) == (0, 90.0, 0.0, 9.0)
    machine.update((5.0, 1.0))
    assert machine.broken is None


def test_a_snapshot_of_other_views_is_refused() -> None:
    with pytest.raises(ValueError, match="1 views in the snapshot, expected 2"):
        Records(VIEWS).restore(Records(VIEWS[:1]).snapshot())
