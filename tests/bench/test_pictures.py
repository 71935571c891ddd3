from pathlib import Path

import pytest

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image

from tests.bench.capture_labels import SOURCES, Hit, Judged, Series, Window
from tests.bench.flow_run import Firing
from tests.bench.noise import seasonal
from tests.bench.pictures import WIDTH, draw, plot_of
from tests.support.make import anomaly, at

T0 = at(0).timestamp()


def judged(*, fires: bool) -> Judged:
    values = seasonal(np.random.default_rng(1), 20_000).tolist()
    window = Window(T0 + 300_000, T0 + 400_000)
    series = Series(SOURCES[0], "s", "C", [T0 + 60.0 * i for i in range(20_000)], values, [window])
    firings = [Firing(anomaly(0), T0 + 310_000, T0 + 380_000), Firing(anomaly(1), T0 + 900_000, None)] if fires else []
    hit = Hit(window, firings[0].begin if fires else None, None, False, False)
    return Judged(series, [hit], firings, firings[1:])


def orange(path: Path) -> int:
    """Pixels that are tinted like findings."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return int(((pixels[..., 0] - pixels[..., 2] > 25) & (pixels[..., 0] > 200)).sum())


def test_a_picture_is_small_and_shows_the_findings(tmp_path: Path) -> None:
    path = draw(judged(fires=True), "full", tmp_path)
    assert path == tmp_path / "engine-room-main-engine-temperature.png"
    assert path.stat().st_size <= 60_000
    with Image.open(path) as image:
        assert image.width == WIDTH
        assert image.format == "PNG"
    tinted = orange(path)
    assert tinted > 5000
    assert orange(draw(judged(fires=False), "full", tmp_path)) < tinted / 50


def test_the_plot_holds_values_labels_and_findings() -> None:
    plot = plot_of(judged(fires=True), "full")
    assert len(plot.at) == len(plot.values) == 20_000
    assert [(span.begin, span.end) for span in plot.findings] == [(T0 + 310_000, T0 + 380_000), (T0 + 900_000, None)]
    assert [(span.begin, span.end) for span in plot.labels] == [(T0 + 300_000, T0 + 400_000)]
    assert plot.note == "profile full: 1 of 1 labels found, 1 findings outside"
