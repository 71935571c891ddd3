"""Which labelled stream of the Numenta benchmark each metric series of the captures is, and how findings are judged."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from operators.capture import read_capture
from schemas.incident import IncidentPublished
from schemas.telemetry import MetricSample, series_id
from tests.bench.flow_run import Firing, Found
from tests.bench.log_lines import NAMES, CapturesMissing
from tests.bench.nab_data import Labelled

HOW_TO_GET = (
    "CAPTURES_DIR must name a folder with seven NATS captures (one JetStream message a line): linux-auth, openstack, "
    "thunderbird, apache-errors and openssh-bruteforce, made from github.com/logpai/loghub's 2k samples, and "
    "engine-room and server-room, made from the streams of github.com/numenta/NAB that tests/bench/capture_labels.py "
    "names; each as NAME.ndjson.gz"
)


class Source(NamedTuple):
    """One series of a capture (device, metric) and the labelled stream it was made from."""

    capture: str
    device: str
    metric: str
    stream: str

    @property
    def name(self) -> str:
        """Short name, for figures and files."""
        return f"{self.device}.{self.metric}"


SOURCES = (
    Source("engine-room", "main-engine", "temperature", "realKnownCause/machine_temperature_system_failure.csv"),
    Source(
        "engine-room", "engine-room", "ambient_temperature", "realKnownCause/ambient_temperature_system_failure.csv"
    ),
    Source("server-room", "srv-1", "cpu_pct", "realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv"),
    Source("server-room", "srv-1", "network_in_bytes", "realAWSCloudwatch/ec2_network_in_257a54.csv"),
    Source("server-room", "srv-2", "disk_write_bytes", "realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv"),
    Source("server-room", "api-1", "request_latency_ms", "realKnownCause/ec2_request_latency_system_failure.csv"),
    Source("server-room", "lb-1", "request_count", "realAWSCloudwatch/elb_request_count_8c0756.csv"),
)
METRIC_CAPTURES = ("engine-room", "server-room")
CAPTURES = (*METRIC_CAPTURES, *NAMES)


class WrongSource(Exception):
    """A series of a capture is not the labelled stream that SOURCES says; its labels would mean nothing."""


class Window(NamedTuple):
    """A stretch of time labelled as anomalous, seconds since 1970; the label itself is its centre."""

    begin: float
    end: float

    @property
    def label(self) -> float:
        """The labelled instant."""
        return (self.begin + self.end) / 2

    def holds(self, at: float) -> bool:
        """Whether a time lies in it."""
        return self.begin <= at <= self.end


class Series(NamedTuple):
    """One labelled series as captured: event times and values in order, and its windows."""

    source: Source
    series: str
    unit: str | None
    at: list[float]
    values: list[float]
    windows: list[Window]


class Hit(NamedTuple):
    """What came of one window.

    finding: the first that began in it (None: missed). incident: when an incident first said so, and
    whether it was opened by that (else it was open already). ongoing: a finding from before the window
    was still on when it began.
    """

    window: Window
    finding: float | None
    incident: float | None
    opened: bool
    ongoing: bool


class Judged(NamedTuple):
    """One series under one profile: what came of each window, and findings outside of all windows."""

    series: Series
    hits: list[Hit]
    firings: list[Firing]
    outside: list[Firing]


def captures_dir() -> Path:
    """The folder that CAPTURES_DIR names; CapturesMissing, saying how to get them, when it is not complete."""
    named = os.environ.get("CAPTURES_DIR")
    if not named:
        raise CapturesMissing(HOW_TO_GET)
    missing = [name for name in CAPTURES if not path_of(Path(named), name).is_file()]
    if missing:
        raise CapturesMissing(f"{named} has no {missing[0]}.ndjson.gz. {HOW_TO_GET}")
    return Path(named)


def path_of(folder: Path, capture: str) -> Path:
    """Where a capture is."""
    return folder / f"{capture}.ndjson.gz"


def read_series(folder: Path, streams: Iterable[Labelled]) -> list[Series]:
    """Every labelled series; WrongSource when a capture's values or times are not those of its stream."""
    by_name = {stream.name: stream for stream in streams}
    samples: dict[tuple[str, str, str], list[MetricSample]] = {}
    for capture in METRIC_CAPTURES:
        for line in read_capture(path_of(folder, capture)):
            body = json.loads(line.data)
            fields = {**body, "tracking_id": f"00000000-0000-8000-0000-{line.sequence:012x}"}
            sample = MetricSample.model_validate({**fields, "observed_at": line.observed_at})
            samples.setdefault((capture, sample.device_id, sample.metric_name), []).append(sample)
    return [_labelled(source, samples.get(source[:3], []), by_name.get(source.stream)) for source in SOURCES]


def _labelled(source: Source, samples: list[MetricSample], stream: Labelled | None) -> Series:
    if stream is None:
        raise WrongSource(f"NAB_DIR has no stream {source.stream}, which {source.capture} {source.name} was made from")
    at = [sample.ts.timestamp() for sample in samples]
    values = [sample.metric_value for sample in samples]
    if Counter(zip(at, values, strict=True)) != Counter(zip(stream.at, stream.values, strict=True)):
        raise WrongSource(f"{source.capture} {source.name}: times and values are not those of {source.stream}")
    windows = [Window(stream.at[first], stream.at[last]) for first, last in stream.windows]
    return Series(source, series_id(samples[0]), samples[0].unit, at, values, windows)


def judge(series: Series, found: Found) -> Judged:
    """Hold the findings on a series against its windows."""
    own = [firing for firing in found.firings if firing.anomaly.series == series.series]
    hits = [_hit(window, own, found.revisions) for window in series.windows]
    outside = [firing for firing in own if not any(window.holds(firing.begin) for window in series.windows)]
    return Judged(series, hits, own, outside)


def _hit(window: Window, own: list[Firing], revisions: list[IncidentPublished]) -> Hit:
    inside = [firing for firing in own if window.holds(firing.begin)]
    refs = {firing.anomaly.anomaly_id for firing in inside}
    said = [each for each in revisions if not refs.isdisjoint(evidence.ref for evidence in each.evidence)]
    first = min(said, key=lambda each: each.updated_at, default=None)
    ongoing = any(firing.begin < window.begin and (firing.end or window.end) > window.begin for firing in own)
    return Hit(
        window,
        min((firing.begin for firing in inside), default=None),
        first.updated_at.timestamp() if first else None,
        first is not None and first.event in ("created", "reopened"),
        ongoing,
    )


def false_incidents(found: Found, judged: list[Judged]) -> list[IncidentPublished]:
    """The openings that rest on no finding inside any window."""
    outside = {firing.anomaly.anomaly_id for each in judged for firing in each.outside}
    inside = {firing.anomaly.anomaly_id for each in judged for firing in each.firings} - outside
    return [each for each in found.openings if inside.isdisjoint(evidence.ref for evidence in each.evidence)]
