"""`watchkeeper plot`: a series with its band and findings, out of captures and out of the API."""

import io
import json
import math
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import structlog
from typer.testing import CliRunner

from api.app import create_app
from api.serve import build_server
from compose.plot.band import ewma_band
from compose.plot.build import Found, SeriesData, bounds, build_plot, spans
from compose.plot.canvas import Canvas
from compose.plot.command import look_of
from compose.plot.data import Bound, Plot, Span
from compose.plot.errors import PlotError, PlotFailedError
from compose.plot.naming import Times, pick, read_times
from compose.plot.picture import draw_png
from compose.plot.terminal import Look, draw_text
from compose.replay import replay
from operators.clickhouse import ClickHouseAwayError
from operators.detect.ewma import Ewma, ewma_settings
from policy import load_policy
from schemas.settings import Settings
from tests.api.conftest import NOW, Archive, archive, reader
from tests.api.story import row_of
from tests.api.test_hostile import Broken
from tests.support.clickhouse import chdb_dsn, clickhouse_database
from tests.support.make import START, anomaly, at, sample
from tests.support.nats import free_port
from watchkeeper import app

__all__ = ["archive", "chdb_dsn", "clickhouse_database", "reader"]

FADE = Path(__file__).parents[1] / "captures" / "satcom-fade" / "in.ndjson.gz"
T0 = START.timestamp()


def noise(count: int, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [50 + dice.gauss(0, 1) for _ in range(count)]


def a_plot(**fields: Any) -> Plot:
    """Ten hours of noise, a step of half an hour in it, and all that can be drawn."""
    times = [T0 + 60.0 * n for n in range(600)]
    values = noise(600)
    values[300:330] = [90.0] * 30
    known: dict[str, Any] = {
        "title": "aurora/srv-1/node/cpu_pct",
        "unit": "%",
        "at": times,
        "values": values,
        "band": [(math.nan,) * 3] * 200 + [(50.0, 44.0, 56.0)] * 400,
        "findings": [Span(times[302], times[332], "threshold cpu_high: 90 is above 85 for 120 s " + "and more " * 20)],
        "labels": [Span(times[295], times[340], "known")],
        "bounds": (Bound(85.0, "cpu_high: above 85"),),
        "note": "a test",
    }
    return Plot(**{**known, **fields})


class TestBand:
    def test_it_is_what_the_production_detector_says_when_it_fires(self) -> None:
        settings = ewma_settings(risk=1e-6)
        values = noise(3000)
        values[2000:2010] = [80.0] * 10
        times = [float(n) for n in range(3000)]
        band = ewma_band(times, values, settings)
        assert band is not None
        machine, fired = Ewma(settings), 0
        for index, (time, value) in enumerate(zip(times, values, strict=True)):
            finding = machine.update(time, value)
            if finding is not None and finding.state == "firing":
                fired += 1
                assert index == 2002
                assert band[index] == pytest.approx((finding.expected, finding.lower, finding.upper), rel=1e-3)
        assert fired == 1

    def test_each_point_is_from_before_its_own_sample(self) -> None:
        values = noise(500)
        usual = ewma_band(list(map(float, range(500))), values, ewma_settings())
        values[-1] = 1e6
        assert usual is not None
        last = ewma_band(list(map(float, range(500))), values, ewma_settings())
        assert last is not None
        assert last[-1] == usual[-1]

    def test_there_is_none_before_the_detector_judges_or_when_nothing_varies(self) -> None:
        times = [float(n) for n in range(300)]
        band = ewma_band(times, noise(300), ewma_settings(min_samples=200))
        assert band is not None
        assert all(math.isnan(bound) for bound in band[199])
        assert band[201][1] < 50 < band[201][2]
        assert ewma_band(times[:150], noise(150), ewma_settings(min_samples=200)) is None
        assert ewma_band(times, [0.0] * 300, ewma_settings()) is None

    def test_a_direction_has_one_bound(self) -> None:
        band = ewma_band([float(n) for n in range(300)], noise(300), ewma_settings(direction="up"))
        assert band is not None
        assert math.isnan(band[-1][1])
        assert band[-1][2] > 50


def found(state: str, at: float, detector: str = "threshold", rule: str | None = "a", **fields: Any) -> Found:
    known: dict[str, Any] = {"anomaly_id": "x", "since": None, "lower": None, "upper": None, "msg": "why"}
    return Found(state=state, at=at, detector=detector, rule=rule, **{**known, **fields})


class TestBuild:
    def test_a_firing_goes_from_its_beginning_to_the_clearing_of_the_same_detector_and_rule(self) -> None:
        story = [
            found("cleared", 1),
            found("firing", 10, since=5.0),
            found("firing", 12, "ewma", None),
            found("cleared", 20, rule="b"),
            found("cleared", 30),
            found("firing", 40),
        ]
        assert spans(story) == [
            Span(5, 30, "threshold a: why"),
            Span(12, None, "ewma: why"),
            Span(40, None, "threshold a: why"),
        ]

    def test_bounds_are_those_of_thresholds_once_each(self) -> None:
        story = [found("firing", 1, upper=85.0), found("cleared", 2, upper=85.0), found("firing", 3, "ewma", upper=9.0)]
        assert bounds(story) == (Bound(85.0, "a: above 85"),)

    def test_what_ended_before_the_first_sample_is_left_out_and_policy_sets_the_risk(self) -> None:
        story = [found("firing", 1), found("cleared", 2), found("firing", 3, rule="b")]
        data = SeriesData("s", "aurora", None, [float(n) for n in range(10, 400)], noise(390), 390, story)
        plot = build_plot(data, load_policy(None).default)
        assert [span.text for span in plot.findings] == ["threshold b: why"]
        assert re.search(r"ewma at risk [\d.e-]+ a sample", plot.band_text)
        few = build_plot(data._replace(at=data.at[:9], values=data.values[:9], samples=9), load_policy(None).default)
        assert few.band is None
        assert "for a band" in few.note

    def test_values_that_no_axis_can_span_are_drawn_at_its_end(self, tmp_path: Path) -> None:
        data = SeriesData("s", "aurora", None, [T0, T0 + 9], [-1.7e308, 1.7e308], 2, [], [(-1.7e308, 0), (0, 1.7e308)])
        plot = build_plot(data, load_policy(None).default)
        draw_png(plot, tmp_path / "huge.png")
        assert "lowest -1e+150, highest 1e+150" in draw_text(plot, Look())


class TestNames:
    NAMES = ("aurora/srv-1/node/cpu_pct", "aurora/srv-2/node/cpu_pct", "aurora/srv-1/node/mem_pct{bank=0}")

    def test_the_whole_name_or_an_end_that_only_one_has(self) -> None:
        assert pick(self.NAMES[0], self.NAMES, "here") == self.NAMES[0]
        assert pick("srv-2/node/cpu_pct", self.NAMES, "here") == self.NAMES[1]
        assert pick("mem_pct", self.NAMES, "here") == self.NAMES[2]
        assert pick("mem_pct{bank=0}", self.NAMES, "here") == self.NAMES[2]

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("node/cpu_pct", f"end of 2 series: {NAMES[0]}, {NAMES[1]}; give more"),
            ("srv-1/node/cpu_pc", f"near it: {NAMES[0]}"),
            ("pct", "here has no series pct"),
            ("zzz", "here has no series zzz; there are: "),
        ],
    )
    def test_another_name_is_refused_with_the_ones_that_may_be_meant(self, name: str, says: str) -> None:
        with pytest.raises(PlotError, match=re.escape(says)):
            pick(name, self.NAMES, "here")

    @pytest.mark.parametrize(
        ("given", "times"),
        [
            ((None, None, None), Times()),
            (("1.5h", None, None), Times(5400.0)),
            ((None, "2026-03-01T02:00:00+02:00", None), Times(None, START)),
            ((None, "2026-03-01T00:00Z", "2026-03-01T00:01:00Z"), Times(None, START, at(60))),
        ],
    )
    def test_times(self, given: tuple[str | None, ...], times: Times) -> None:
        assert read_times(*given) == times

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (("1 day", None, None), "--since is '1 day': expected a number and s, m, h or d"),
            (("0h", None, None), "--since is '0h'"),
            (("1h", "2026-03-01T00:00Z", None), "exclude each other"),
            ((None, None, "2026-03-01T00:00Z"), "--to needs --from"),
            ((None, "2026-03-01T00:00", None), "time zone missing"),
            ((None, "yesterday", None), "--from is 'yesterday': expected a time such as"),
            ((None, "1066-01-01T00:00Z", None), "between the years"),
            ((None, "2026-03-01T00:00Z", "2026-03-01T00:00Z"), "--from is not before --to"),
        ],
    )
    def test_wrong_times(self, given: tuple[str | None, ...], says: str) -> None:
        with pytest.raises(PlotError, match=re.escape(says)):
            read_times(*given)


def cells(canvas: Canvas) -> list[str]:
    return ["".join(char for char, _ in row) for row in canvas.lines()]


class TestTerminal:
    def test_dots_are_where_the_values_are(self) -> None:
        canvas = Canvas(2, 1, (0.0, 4.0), (0.0, 4.0), braille=True)
        canvas.layer("*")
        canvas.trace([0, 1, 2, 3], [0.5, 1.5, 2.5, 3.5], [0.5, 1.5, 2.5, 3.5])
        assert cells(canvas) == ["⡠⠊"]

    def test_a_jump_is_joined_and_what_lies_outside_is_cut(self) -> None:
        canvas = Canvas(3, 4, (0.0, 3.0), (0.0, 4.0), braille=False)
        canvas.layer("*")
        canvas.trace([0, 2], [0.5, 99], [0.5, 99])
        assert cells(canvas) == ["  *", " * ", "*  ", "*  "]

    @pytest.mark.parametrize("width", [40, 80, 131])
    @pytest.mark.parametrize("braille", [True, False])
    def test_no_line_is_wider_than_asked_and_all_is_said(self, width: int, braille: bool) -> None:
        text = draw_text(a_plot(), Look(width, braille))
        assert max(map(len, text.splitlines())) <= width
        flat = " ".join(text.split())
        assert "aurora/srv-1/node/cpu_pct (%)" in flat
        assert "highest 90" in flat
        assert "cpu_high: above 85" in flat
        assert "1 2026-03-01 05:02:00 to 05:32:00 UTC threshold cpu_high: 90 is above 85 for 120 s" in flat
        assert text.isascii() is not braille
        assert "\x1b" not in text

    def test_the_step_stands_over_its_mark_and_its_hour(self) -> None:
        rows = draw_text(a_plot(band=None, bounds=()), Look(80, False)).splitlines()
        high = next(row for row in rows if "*" in row)
        fired = next(row for row in rows if row.strip().startswith("fired"))
        ticks = next(row for row in rows if "05:00" in row or "04:00" in row)
        top, mark = high.index("*"), fired.index("1=")
        assert abs(top - mark) <= 1
        assert high.rindex("*") <= fired.rindex("=")
        labels = [(m.start() + 2, int(m[1])) for m in re.finditer(r"\b(\d\d):00\b", ticks)][1:]
        (a, hour_a), (b, hour_b) = labels[0], labels[-1]
        assert a + (5 - hour_a) * (b - a) / (hour_b - hour_a) == pytest.approx(top, abs=1.5)

    def test_a_single_spike_among_many_samples_is_seen(self) -> None:
        values = [1.0] * 20_000
        values[12_345] = 100.0
        plot = Plot("s", None, [T0 + n for n in range(20_000)], values, None, [], [])
        top = draw_text(plot, Look(80, False)).splitlines()[2:4]
        assert "*" in "".join(top)
        means = Plot("s", None, [T0, T0 + 60], [2.0, 2.0], None, [], [], [(1.0, 3.0), (1.0, 100.0)])
        assert "highest 100" in draw_text(means, Look(80, True))

    @pytest.mark.parametrize(
        "plot",
        [
            a_plot(at=[T0], values=[5.0], band=None, findings=[], labels=[], bounds=()),
            a_plot(at=[T0, T0], values=[5.0, 5.0], band=None),
            a_plot(at=[T0, T0 + 1e9], values=[-1e150, 1e150], band=None),
            a_plot(title="борей ⚓\x1b[2J\n" * 9, unit="\x07", findings=[Span(T0, None, "a\x1b]0;x\x07b\r\n" * 9)]),
            a_plot(findings=[Span(T0 + 600 * n, T0 + 600 * n + 60, f"ewma: {n}") for n in range(50)]),
        ],
    )
    @pytest.mark.parametrize("braille", [True, False])
    def test_odd_plots(self, plot: Plot, braille: bool, tmp_path: Path) -> None:
        text = draw_text(plot, Look(80, braille))
        assert max(map(len, text.splitlines())) <= 80
        assert not set(text) & set("\x1b\x07\r")
        draw_png(plot, tmp_path / "odd.png")

    def test_colours_only_where_asked_and_braille_where_it_can_be_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, coloured = draw_text(a_plot(), Look()), draw_text(a_plot(), Look(colors=True))
        assert "\x1b[31m" in coloured
        assert re.sub(r"\x1b\[\d+m", "", coloured) == plain

        class Terminal(io.TextIOWrapper):
            def isatty(self) -> bool:
                return True

        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("COLUMNS", "133")
        assert look_of(Terminal(io.BytesIO(), "utf-8"), None) == Look(133, True, True)
        assert look_of(Terminal(io.BytesIO(), "latin-1"), 90) == Look(90, False, True)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not look_of(Terminal(io.BytesIO(), "utf-8"), None).colors
        assert look_of(io.TextIOWrapper(io.BytesIO(), "ascii"), None) == Look(80, False, False)


def pixels(path: Path) -> Any:
    return matplotlib.image.imread(path)[:, :, :3]


def reddish(path: Path) -> int:
    """How many pixels have the shade of a finding: more red than blue."""
    image = pixels(path)
    return int((image[:, :, 0] - image[:, :, 2] > 0.05).sum())


class TestPicture:
    def test_findings_labels_and_band_are_in_it(self, tmp_path: Path) -> None:
        draw_png(a_plot(), tmp_path / "all.png")
        draw_png(a_plot(findings=[], labels=[], band=None, bounds=()), tmp_path / "plain.png")
        assert pixels(tmp_path / "all.png").shape[:2] == (550, 1320)
        assert reddish(tmp_path / "all.png") > 5_000
        assert reddish(tmp_path / "plain.png") < 500

    def test_the_same_plot_gives_the_same_bytes_and_leaves_no_figure_open(self, tmp_path: Path) -> None:
        for name in "ab":
            draw_png(a_plot(title="$\\alpha_ {x"), tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()

    def test_without_matplotlib_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(PlotFailedError, match=re.escape("pip install 'watchkeeper[plot]'")):
            draw_png(a_plot(), tmp_path / "x.png")

    def test_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(PlotError, match="cannot be written: No such file or directory"):
            draw_png(a_plot(), tmp_path / "nowhere" / "x.png")


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `watchkeeper plot` in this process; what it does to logging is undone."""
    monkeypatch.setenv("WATCHKEEPER_API_PORT", str(free_port()))
    config = structlog.get_config()
    yield lambda *args: CliRunner().invoke(app, ["plot", *map(str, args)], catch_exceptions=False)
    structlog.configure(**config)


def refused(result: Any, code: int, *says: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    for text in says:
        assert text in result.stderr


class TestCaptures:
    def test_the_end_of_a_name_is_enough_and_the_finding_is_that_of_the_vessel_flow(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture = tmp_path / "fade.png"
        result = run("vsat/rf_snr_db", "--capture", FADE, "--png", picture)
        assert result.exit_code == 0, result.stderr
        text = " ".join(result.stdout.split())
        assert text.startswith("ship-1/vsat-1/vsat/rf_snr_db (dB)")
        assert "71 samples" in text
        assert "rf_snr_low: below 7" in text
        assert "threshold rf_snr_low: rf_snr_db (dB) of vsat-1/vsat: 4.274 is below 7 for 60 s" in text
        lines = result.stdout.splitlines()
        assert max(len(line) for line in lines if not line.startswith("picture: ")) == 80
        assert reddish(picture) > 5_000
        assert run("vsat/rf_snr_db", "--capture", FADE, "--png", picture).stdout == result.stdout
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        command = [sys.executable, "-m", "watchkeeper", "plot", "rf_snr_db", "--capture", FADE, "--png", tmp_path / "ж"]
        plain = subprocess.run(list(map(str, command)), capture_output=True, check=True, timeout=60).stdout
        assert plain.isascii()
        assert plain.endswith(b"/?\n")

    def test_an_anomaly_is_found_by_its_id(self, run: Run) -> None:
        incidents: list[str] = []
        replay([FADE], load_policy(None), Settings(), incidents.append, final=True)
        evidence = [each for text in incidents for each in json.loads(text)["evidence"]]
        snr = next(each["ref"] for each in evidence if "rf_snr_db" in each["summary"])
        result = run(snr.upper(), "--capture", FADE)
        assert result.stdout.startswith("ship-1/vsat-1/vsat/rf_snr_db"), result.output
        log = next(each["ref"] for each in evidence if "Failed password" in each["summary"])
        refused(run(log, "--capture", FADE), 2, "is about log lines")
        refused(run("0c9a6c1e-0000-8000-8000-000000000001", "--capture", FADE), 2, "give no anomaly", "replay")

    def test_a_span_of_time_with_the_findings_that_reach_into_it(self, run: Run) -> None:
        result = run("rf_snr_db", "--capture", FADE, "--from", "2026-11-23T13:57:00Z", "--to", "2026-11-23T13:57:30Z")
        assert "2026-11-23 13:57:00 to 2026-11-23 13:57:25 UTC, 6 samples" in result.stdout
        assert "13:54:40 UTC, not cleared" in result.stdout
        last = run("rf_snr_db", "--capture", FADE, "--since", "1m").stdout
        assert "13 samples" in last
        assert "no findings" in last

    @pytest.mark.parametrize(
        ("args", "says"),
        [
            (["rf_snr", "--capture", FADE], ["has no series rf_snr; near it: ship-1/vsat-1/vsat/rf_snr_db"]),
            (["cpu_pct", "--capture", FADE], ["is the end of", "give more of the name"]),
            (["rf_snr_db", "--capture", "nowhere.ndjson"], ["nowhere.ndjson: cannot be read"]),
            (["rf_snr_db", "--capture", __file__], ["test_plot.py:1: expected a line"]),
            (
                ["rf_snr_db", "--capture", FADE, "--from", "2020-01-01T00:00Z", "--to", "2020-01-02T00:00Z"],
                ["no samples in this span", "from 2026-11-23T13:54:10Z to 2026-11-23T14:00:00Z", "give --from"],
            ),
            (["rf_snr_db", "--capture", FADE, "--since", "soon"], ["--since is 'soon'"]),
            (["rf_snr_db", "--capture", FADE, "--api", "http://x"], ["exclude each other"]),
            (["rf_snr_db", "--capture", FADE, "--policy", "nowhere"], ["nowhere"]),
            (["/", "--capture", FADE], ["name is empty"]),
            (["rf_snr_db", "--api", "ship.example"], ["--api is 'ship.example': expected an address such as"]),
        ],
    )
    def test_a_wrong_argument_is_one_line_with_the_next_step(self, run: Run, args: list[Any], says: list[str]) -> None:
        refused(run(*args), 2, *says)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves the API over a reader on a port of its own; gives its address."""
    stops: list[Callable[[], None]] = []

    def start(source: Any) -> str:
        application = create_app(source, settings=Settings(), policy=load_policy(None), clock=lambda: NOW)
        server = build_server(application, "127.0.0.1", 0, signals=False)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)

        stops.append(stop)
        return f"http://127.0.0.1:{server.port}"

    yield start
    for stop in stops:
        stop()


class TestApi:
    def test_a_series_by_the_end_of_its_name(
        self, run: Run, serve: Callable[[Any], str], archive: Archive, reader: Any, tmp_path: Path
    ) -> None:
        values = noise(900)
        values[600:640] = [95.0] * 40
        archive.add(*(row_of(sample(n, value)) for n, value in enumerate(values)))
        archive.add(row_of(sample(7, 1, device_id="srv-2", metric_name="mem_pct")))
        fired = anomaly(610, since=at(600), upper=85.0, msg="cpu_pct (%) of srv-1/node: 95 is above 85")
        archive.add(row_of(fired), row_of(anomaly(640, state="cleared", upper=85.0)))
        url = serve(reader)
        result = run("srv-1/node/cpu_pct", "--api", url + "/", "--png", tmp_path / "x.png")
        assert result.exit_code == 0, result.stderr
        text = " ".join(result.stdout.split())
        assert text.startswith(
            "aurora/srv-1/node/cpu_pct (%) 2026-03-01 00:00:00 to 2026-03-01 00:14:59 UTC, 900 samples"
        )
        assert "band: ewma" in text
        assert "1 2026-03-01 00:10:00 to 00:10:40 UTC threshold cpu_high: cpu_pct (%) of srv-1/node: 95" in text
        assert reddish(tmp_path / "x.png") > 1_000
        for name in (fired.anomaly_id, fired.anomaly_id[:8].upper()):
            assert run(name, "--api", url).stdout.startswith("aurora/srv-1/node/cpu_pct")
        short = run("srv-1/node/cpu_pct", "--api", url, "--from", text_of(100), "--to", text_of(110)).stdout
        assert "10 samples" in short
        assert "no findings" in short

        refused(run("srv-1/node/cpu", "--api", url), 2, "has no series", "near it: aurora/srv-1/node/cpu_pct")
        refused(run("zzz", "--api", url), 2, "there are: aurora/srv-1/node/cpu_pct, aurora/srv-2/node/mem_pct")
        refused(run("0c9a6c1e-0000-8000-8000-000000000001", "--api", url), 2, "no anomaly has this id")
        refused(run("mem_pct", "--api", url, "--from", text_of(100)), 2, "it has some from 2026-03-01T00:00:07Z")

    def test_a_name_with_everything_in_it(
        self, run: Run, serve: Callable[[Any], str], archive: Archive, reader: Any
    ) -> None:
        odd = sample(1, 5, device_id="a b/..", metric_name="m%2F?x#{y}", labels={"path": "/var/lib", "k": "ж=,"})
        archive.add(row_of(odd))
        name = str(row_of(odd).values[-2])
        result = run(name, "--api", serve(reader))
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(name)

    def test_more_samples_than_points_keep_their_extremes(
        self, run: Run, serve: Callable[[Any], str], archive: Archive, reader: Any
    ) -> None:
        values = noise(12_000)
        values[5432] = 777.0
        archive.add(*(row_of(sample(n / 10, value)) for n, value in enumerate(values)))
        url = serve(reader)
        text = " ".join(run("cpu_pct", "--api", url, "--from", text_of(0), "--to", text_of(1200)).stdout.split())
        assert "12,000 samples as" in text
        assert "highest 777" in text
        assert "lowest to highest" in text

    def test_an_api_that_is_away_or_another_program_or_without_its_database(
        self, run: Run, serve: Callable[[Any], str]
    ) -> None:
        refused(run("cpu_pct"), 1, "does not answer", "`watchkeeper up`", "--capture")
        away = Broken(ClickHouseAwayError("ClickHouse at http://x is away: start it"))
        refused(run("cpu_pct", "--api", serve(away)), 1, "ClickHouse at http://x is away: start it")

        class Stranger(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.startswith("/api/v3/series")
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(b"<html>hello</html>")

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            refused(run("cpu_pct", "--api", url), 1, "not as Watchkeeper's API")
            refused(run("cpu_pct", "--api", url + "/elsewhere"), 1, "not as Watchkeeper's API")
            server.shutdown()


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(T0 + seconds, UTC).isoformat()
