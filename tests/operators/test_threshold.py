import pytest

from operators.detect.threshold import Threshold

Story = list[tuple[float, float]]


def states(detector: Threshold, story: Story) -> list[str | None]:
    return [finding.state if (finding := detector.update(at, value)) else None for at, value in story]


def cpu() -> Threshold:
    return Threshold(above=85.0, clear=80.0, hold_s=120.0)


def test_it_fires_once_after_the_hold_and_clears_once_at_its_own_level() -> None:
    story: Story = [(0, 90), (60, 90), (119, 90), (120, 90), (180, 99), (240, 84), (300, 80), (360, 70)]
    assert states(cpu(), story) == [None, None, None, "firing", None, None, "cleared", None]


def test_one_good_sample_begins_the_hold_anew() -> None:
    assert states(cpu(), [(0, 90), (60, 85), (120, 90), (180, 90), (240, 90)]) == [None, None, None, None, "firing"]


def test_the_bound_itself_is_not_beyond_it() -> None:
    assert states(Threshold(above=85.0), [(0, 85.0), (1, 85.000001)]) == [None, "firing"]


def test_below_and_range() -> None:
    snr = Threshold(below=7.0, clear=8.0, hold_s=60.0)
    assert states(snr, [(0, 6), (60, 6), (61, 7.5), (62, 8)]) == [None, "firing", None, "cleared"]
    pressure = Threshold(above=5.0, below=2.0)
    assert states(pressure, [(0, 3), (1, 6), (2, 1), (3, 4)]) == [None, "firing", None, "cleared"]


def test_the_message_has_the_numbers_in_it_and_the_score_begins_at_a_half() -> None:
    detector = cpu()
    detector.update(0, 90)
    finding = detector.update(120, 93.25)
    assert finding is not None
    assert finding.msg == "93.25 is above 85 for 120 s (since 1970-01-01 00:00:00 UTC)"
    assert finding.score == pytest.approx(0.5 + 0.5 * 1.65 / 2.65)
    barely = Threshold(above=85.0, clear=80.0).update(0, 85.0001)
    assert barely is not None
    assert barely.score == pytest.approx(0.5, abs=1e-4)


def test_resuming_equals_never_stopping_at_every_point() -> None:
    story: Story = [(0, 90), (60, 90), (120, 90), (180, 99), (240, 84), (300, 80), (360, 95), (480, 95)]
    whole = states(cpu(), story)
    for cut in range(len(story)):
        first, second = cpu(), cpu()
        before = states(first, story[:cut])
        saved = first.snapshot()
        states(first, [(9e9, 99)])
        second.restore(saved)
        assert before + states(second, story[cut:]) == whole


def test_a_threshold_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a bound"):
        Threshold()


def test_the_score_of_each_sample_is_a_half_at_the_bound() -> None:
    detector = cpu()
    scores = []
    for at, value in [(0, 40.0), (60, 85.0), (120, 85.0001), (180, 90.0), (400, 90.0), (460, 70.0)]:
        detector.update(at, value)
        scores.append(detector.score)
    assert scores == [0.0, 0.0, pytest.approx(0.5, abs=1e-4), 0.75, 0.75, 0.0]


def test_it_says_value_and_bound_as_numbers() -> None:
    ranged = Threshold(above=5.0, below=2.0)
    finding = ranged.update(0, 1.0)
    assert finding is not None
    assert (finding.statistic, finding.bound) == (1.0, 2.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_passed_over(bad: float) -> None:
    detector = cpu()
    assert states(detector, [(0, 90), (60, bad), (120, 90)]) == [None, None, "firing"]
