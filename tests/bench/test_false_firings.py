import pytest

from operators.detect import record_surprise
from tests.bench.false_firings import LOOSE, Disagreement, check_against_production, count_firings


def test_the_reference_agrees_with_production_where_it_does_fire() -> None:
    found = count_firings(streams=2, length=1200, interval_s=60.0, seed=1, **LOOSE)[1]
    assert len(found) >= 5  # else the next line compares nothing
    assert check_against_production(streams=2, length=1200, interval_s=60.0, seed=1, **LOOSE) == 12_000


def test_a_difference_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_surprise, "FILTER_SAMPLES", 5)
    with pytest.raises(Disagreement, match="reference"):
        check_against_production(streams=2, length=1200, interval_s=60.0, seed=1, **LOOSE)


def test_noise_as_shipped_stays_silent() -> None:
    counts, _ = count_firings(streams=20, length=4000, interval_s=60.0, seed=7)
    assert sum(counts.values()) <= 1  # 400,000 samples, at most one in a million is the goal
