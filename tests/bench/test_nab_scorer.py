import os
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.nab import SCORES, blind, main, of_detector, run
from tests.bench.nab_data import HOW_TO_GET, Labelled, NabMissing, load, nab_dir
from tests.bench.nab_scorer import PROFILES, Scorer, probation

NEEDS_DATA = pytest.mark.skipif(not os.environ.get("NAB_DIR"), reason=HOW_TO_GET)


def stream(length: int, windows: list[tuple[int, int]], name: str = "a") -> Labelled:
    return Labelled(name, [60.0 * i for i in range(length)], [0.0] * length, windows)


def sigmoid(position: float) -> float:
    return -1.0 if position > 3.0 else 2.0 / (1.0 + exp(5.0 * position)) - 1.0


def slow_score(streams: list[Labelled], alarms: list[list[bool]], fp: float, fn: float) -> float:
    """The published rules, point by point."""
    raw, windows = 0.0, 0
    for each, alarm in zip(streams, alarms, strict=True):
        best = [-fn] * len(each.windows)
        windows += len(each.windows)
        for i in range(probation(len(alarm)), len(alarm)):
            if not alarm[i]:
                continue
            inside = [n for n, (first, last) in enumerate(each.windows) if first <= i <= last]
            before = [w for w in each.windows if w[1] < i]
            if inside:
                first, last = each.windows[inside[0]]
                value = sigmoid(-(last - i + 1) / (last - first + 1)) / sigmoid(-1.0)
                best[inside[0]] = max(best[inside[0]], value)
            elif before:
                first, last = before[-1]
                raw += fp * sigmoid((i - last) / (last - first))
            else:
                raw -= fp
        raw += sum(best)
    return 100.0 * (raw + fn * windows) / (windows * (1.0 + fn))


@given(st.data())
def test_every_threshold_scores_as_the_published_rules_say(data: st.DataObject) -> None:
    streams = [stream(80, [(20, 29), (50, 54)]), stream(60, [(30, 45)], "b"), stream(40, [], "c")]
    levels = st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.5, 0.9])
    scores = [data.draw(st.lists(levels, min_size=len(s.values), max_size=len(s.values))) for s in streams]
    scorer = Scorer(streams)
    for profile in PROFILES.values():
        for threshold in (0.1, 0.5, 0.9, 2.0):
            alarms = [[score >= threshold for score in each] for each in scores]
            expected = slow_score(streams, alarms, profile.false_positive, profile.missed)
            assert scorer.at(scores, profile, threshold) == pytest.approx(expected, abs=1e-9)
        best = scorer.best(scores, profile)
        assert best.score == pytest.approx(max(scorer.curve(scores, profile)[1]))


def test_no_alarm_is_zero_and_the_first_point_of_every_window_alone_is_nearly_a_hundred() -> None:
    streams = [stream(400, [(100, 140), (300, 360)])]
    scorer = Scorer(streams)
    nothing, perfect = [0.0] * 400, [0.0] * 400
    perfect[100] = perfect[300] = 1.0
    for profile in PROFILES.values():
        assert scorer.best([nothing], profile).score == 0.0
        assert scorer.best([perfect], profile).score == pytest.approx(100.0)


def test_scores_that_do_not_fit_the_streams_are_refused() -> None:
    with pytest.raises(ValueError, match="scores for"):
        Scorer([stream(100, [(50, 60)])]).best([[0.0] * 99], PROFILES["standard"])


def test_missing_data_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NAB_DIR", raising=False)
    with pytest.raises(NabMissing, match="git clone"):
        nab_dir()
    assert main(["--quick"]) == 2
    assert "git clone" in capsys.readouterr().err


def test_an_unknown_score_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--score", "nonsense"]) == 2
    assert "choose from" in capsys.readouterr().err


@NEEDS_DATA
def test_the_known_values_of_the_published_data() -> None:
    streams = load(nab_dir())
    scorer = Scorer(streams)
    assert (len(streams), scorer.windows) == (58, 116)
    standard = PROFILES["standard"]
    assert scorer.best([[0.0] * len(each.values) for each in streams], standard).score == 0.0
    assert scorer.at(blind(streams), standard, 1.0) == pytest.approx(21.6, abs=0.5)


@NEEDS_DATA
@pytest.mark.slow
def test_record_surprise_keeps_what_it_has_reached() -> None:
    streams = load(nab_dir())
    scorer = Scorer(streams)
    scores = run(SCORES["record_surprise"], streams)
    reached = {name: scorer.best(scores, profile).score for name, profile in PROFILES.items()}
    assert reached["standard"] >= 78.0
    assert reached["low_fp"] >= 71.0
    assert reached["low_fn"] >= 82.0


def test_late_samples_score_nothing() -> None:
    class Always:
        score = 0.9

        def update(self, at: float, value: float) -> None:
            pass

    late = stream(3, [])._replace(at=[0.0, 60.0, 30.0])
    assert run(lambda: of_detector(Always()), [late]) == [[0.9, 0.9, 0.0]]
