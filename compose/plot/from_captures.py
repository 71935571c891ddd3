"""A series out of captures: the first half of the vessel flow over them, offline."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from compose.plot.build import Found, SeriesData
from compose.plot.errors import PlotError
from compose.plot.naming import Times, is_anomaly_id, no_samples, pick
from flows.detect import detection
from operators.admit import admit
from operators.capture import CaptureSource
from operators.decode import decode
from operators.observability import FlowMetrics
from policy import PolicySet
from schemas.anomaly import AnomalyDetected
from schemas.event import Event
from schemas.settings import Settings
from schemas.telemetry import MetricSample, series_id

BATCH = 500


@dataclass
class _Samples:
    """All samples of one series: 16 bytes each."""

    ship_id: str
    unit: str | None
    at: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


def read_captures_series(
    name: str, captures: Sequence[Path], times: Times, policy: PolicySet, settings: Settings
) -> SeriesData:
    """The series (or that of the anomaly) of that name in captures, with what the detectors find on it.

    Reads the captures twice: what is in them, then the detectors over all of it. --since counts
    from the series' last sample.

    Raises:
        CaptureError: naming file and line.
        PlotError: for a name that is not there, or a span without samples.
    """
    known = _read_samples(captures, policy, settings)
    if is_anomaly_id(name):
        anomalies = _read_anomalies(captures, policy, settings)
        series = _series_of(name.lower(), anomalies)
        if series not in known:
            raise PlotError(f"anomaly {name} is about log lines ({series}): there are no values to draw")
    else:
        series = pick(name, list(known), "the capture" if len(captures) == 1 else "the captures")
        anomalies = _read_anomalies(captures, policy, settings)
    found = [found_of(each) for each in anomalies if each.series == series]
    return _cut(series, known[series], found, times)


def found_of(anomaly: AnomalyDetected) -> Found:
    """What a plot needs of an anomaly."""
    return Found(
        anomaly.anomaly_id,
        anomaly.state,
        anomaly.detector,
        anomaly.rule,
        anomaly.ts.timestamp(),
        anomaly.since.timestamp() if anomaly.since is not None else None,
        anomaly.lower,
        anomaly.upper,
        anomaly.msg,
    )


def _series_of(anomaly_id: str, anomalies: Sequence[AnomalyDetected]) -> str:
    for anomaly in anomalies:
        if anomaly.anomaly_id == anomaly_id:
            return anomaly.series
    raise PlotError(
        f"the captures give no anomaly {anomaly_id}; `watchkeeper replay` prints the incidents, "
        "whose evidence names them (ref), and needs the same --policy"
    )


def _cut(series: str, samples: _Samples, found: list[Found], times: Times) -> SeriesData:
    pairs = sorted(zip(samples.at, samples.values, strict=True), key=lambda pair: pair[0])
    last = pairs[-1][0]
    since = last - times.ago_s if times.ago_s is not None else times.since.timestamp() if times.since else pairs[0][0]
    until = times.until.timestamp() if times.until else last + 1.0
    shown = [pair for pair in pairs if since <= pair[0] < until]
    if not shown:
        raise PlotError(no_samples(series, samples.at[0], last))
    at, values = [at for at, _ in shown], [value for _, value in shown]
    inside = found if times.until is None else [each for each in found if each.at < until]
    return SeriesData(series, samples.ship_id, samples.unit, at, values, len(at), inside)


class _Taker(StatelessSinkPartition[Event]):
    def __init__(self, take: Callable[[Event], None]) -> None:
        self._take = take

    def write_batch(self, items: list[Event]) -> None:
        for item in items:
            self._take(item)


class _Take(DynamicSink[Event]):
    """Hands every event to a function."""

    def __init__(self, take: Callable[[Event], None]) -> None:
        self._take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Taker:
        return _Taker(self._take)


def _read_samples(captures: Sequence[Path], policy: PolicySet, settings: Settings) -> dict[str, _Samples]:
    """All samples that decode and admit let through, by series."""
    known: dict[str, _Samples] = {}

    def take(event: Event) -> None:
        sample = event.body
        if isinstance(sample, MetricSample):
            own = known.setdefault(series_id(sample), _Samples(sample.ship_id, sample.unit))
            own.at.append(sample.ts.timestamp())
            own.values.append(sample.metric_value)

    def wire(flow: Dataflow, metrics: FlowMetrics) -> Stream[Event]:
        telemetry = op.input("telemetry", flow, CaptureSource(captures, batch=BATCH))
        decoded = decode("decode", telemetry, ship_id=settings.ship_id, policy=policy, metrics=metrics)
        return op.flatten("events", admit("admit", decoded.events, policy=policy, metrics=metrics))

    _run(wire, take)
    return known


def _read_anomalies(captures: Sequence[Path], policy: PolicySet, settings: Settings) -> list[AnomalyDetected]:
    """What the detectors say, in the order that they say it."""
    anomalies: list[AnomalyDetected] = []

    def take(event: Event) -> None:
        if isinstance(event.body, AnomalyDetected):
            anomalies.append(event.body)

    def wire(flow: Dataflow, metrics: FlowMetrics) -> Stream[Event]:
        telemetry = op.input("telemetry", flow, CaptureSource(captures, batch=BATCH))
        return detection(telemetry, policy=policy, settings=settings, metrics=metrics).events

    _run(wire, take)
    return anomalies


def _run(wire: Callable[[Dataflow, FlowMetrics], Stream[Event]], take: Callable[[Event], None]) -> None:
    flow = Dataflow("plot")
    op.output("out", wire(flow, FlowMetrics("plot")), _Take(take))
    run_main(flow)
