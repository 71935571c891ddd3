"""Pictures of what was found, small enough to be kept beside the documentation."""

from pathlib import Path

from PIL import Image

from compose.plot.data import Plot, Span
from compose.plot.picture import draw_png
from tests.bench.capture_labels import Judged

WIDTH = 1000
COLOURS = 48


def plot_of(judged: Judged, profile: str) -> Plot:
    """A labelled series with its windows and findings."""
    series = judged.series
    return Plot(
        title=f"{series.source.capture}: {series.source.device} {series.source.metric}",
        unit=series.unit,
        at=series.at,
        values=series.values,
        band=None,
        findings=[Span(firing.begin, firing.end, firing.anomaly.detector) for firing in judged.firings],
        labels=[Span(window.begin, window.end, "labelled") for window in series.windows],
        note=f"profile {profile}: {sum(hit.finding is not None for hit in judged.hits)} of {len(judged.hits)} labels "
        f"found, {len(judged.outside)} findings outside",
    )


def draw(judged: Judged, profile: str, folder: Path) -> Path:
    """One picture of 1000 pixels' width in a palette of few colours; where it is."""
    source = judged.series.source
    path = folder / f"{source.capture}-{source.device}-{source.metric}.png"
    draw_png(plot_of(judged, profile), path)
    with Image.open(path) as drawn:
        size = (WIDTH, round(drawn.height * WIDTH / drawn.width))
        small = drawn.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path
