"""The metric series of one slot of detect."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from operators.detect.anomalies import cleared_anomaly, metric_anomaly
from operators.detect.choose import choose_detectors, metric_rule
from operators.detect.metric_series import MetricSeries
from policy import PolicySet
from schemas.event import Event
from schemas.telemetry import MetricSample, series_id


class SampleTable:
    """Feeds samples to their series, each with the detectors that policy chooses for it.

    Series unseen for policy.detect.series_expiry_s are forgotten, and what still fires then, or is
    watched by policy no longer, is cleared. counts holds what was not judged, by reason. State: that
    of at most max_series series.
    """

    def __init__(self, policy: PolicySet, *, max_series: int) -> None:
        self._policy = policy
        self._max_series = max_series
        self._series: dict[str, MetricSeries] = {}
        self._with_orphans: list[str] = []
        self.counts: Counter[str] = Counter()

    def take(self, event: Event, sample: MetricSample) -> Iterator[Event]:
        """Take one sample."""
        series_name = series_id(sample)
        series = self._series.get(series_name)
        if series is None:
            if len(self._series) >= self._max_series:
                self.counts["series_cap"] += 1
                return
            series = self._series[series_name] = self._new(sample)
        if not series.rule.is_valid(sample.metric_value):
            self.counts["out_of_range"] += 1
            return
        findings = series.update(sample)
        if findings is None:
            self.counts["late"] += 1
            return
        for detector, finding in findings:
            yield Event(event.pos, event.at, metric_anomaly(event, sample, series_name, detector, finding))

    def _new(self, sample: MetricSample) -> MetricSeries:
        policy = self._policy.for_ship(sample.ship_id)
        return MetricSeries(choose_detectors(policy, sample), metric_rule(policy, sample), sample)

    def tick(self, event: Event) -> Iterator[Event]:
        """Clear what a changed policy left behind."""
        for name in self._with_orphans:
            yield from self._clear_orphans(name, event)
        self._with_orphans.clear()

    def _clear_orphans(self, name: str, event: Event) -> Iterator[Event]:
        series = self._series.get(name)
        if series is None:
            return
        for detector in series.orphans:
            reason = "policy no longer watches this"
            yield Event(event.pos, event.at, cleared_anomaly(event, series.last, name, detector, reason))
        series.orphans.clear()

    def expire(self, event: Event) -> Iterator[Event]:
        """Forget what has been silent for too long."""
        for name, series in sorted(self._series.items()):
            limit = timedelta(seconds=self._policy.for_ship(series.last.ship_id).detect.series_expiry_s)
            if event.at - series.last.observed_at < limit:
                continue
            del self._series[name]
            for detector in series.firing():
                reason = f"no sample for {limit}, forgotten"
                yield Event(event.pos, event.at, cleared_anomaly(event, series.last, name, detector, reason))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {name: series.snapshot() for name, series in self._series.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        for name, saved in state.items():
            sample = MetricSample.model_validate(saved["last"])
            series = self._new(sample)
            series.restore(saved)
            self._series[name] = series
            if series.orphans:
                self._with_orphans.append(name)
