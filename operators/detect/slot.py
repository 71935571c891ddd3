"""One of the fixed slots of detect: many series, their deadlines, and the anomalies they give."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from operators.deadlines import Deadlines
from operators.detect.anomalies import MAX_TEXT, LineSource, cleared_anomaly, metric_anomaly, pattern_anomaly
from operators.detect.metric_series import MetricSeries, choose_detectors
from operators.detect.pattern import PatternMatcher, PatternRule
from operators.detect.pattern_series import Hit, PatternSeries, PatternTiming
from policy import Policy, PolicySet
from schemas.event import Event
from schemas.ops import OpsTick
from schemas.telemetry import LogMessage, MetricSample, series_id

SNAPSHOT_VERSION = 1
EXPIRY_EVERY = timedelta(minutes=10)


class SlotTick(OpsTick):
    """A tick for one slot of detect; another slot's passes it on."""


class DetectSlot:
    """Feeds samples and lines to their series; gives anomalies, in order.

    Commands, device records and ticks pass through; a SlotTick does its work and goes no further. A
    deadline of a series is served at the first tick, or line of that series, not before it. Series
    unseen for policy.detect.series_expiry_s are forgotten (what still fires is cleared). counts
    holds what was not judged, by reason, for the operator to collect.
    """

    def __init__(self, policy: PolicySet, *, max_series: int, slots: int = 1) -> None:
        self._policy = policy
        self._slots = slots
        self._max_series = max_series
        self._metrics: dict[str, MetricSeries] = {}
        self._patterns: dict[str, tuple[PatternSeries, PatternRule, LineSource]] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._matchers: dict[str, PatternMatcher] = {}
        self._expire_at: datetime | None = None
        self._with_orphans: list[str] = []
        self.counts: Counter[str] = Counter()

    def process(self, event: Event) -> Iterator[Event]:
        """Take one event; events must come in order."""
        body = event.body
        if isinstance(body, MetricSample):
            yield from self._sample(event, body)
        elif isinstance(body, LogMessage):
            yield from self._line(event, body)
        elif isinstance(body, OpsTick):
            yield from self._tick(event)
            if not isinstance(body, SlotTick):
                yield event
        else:
            yield event

    def _sample(self, event: Event, sample: MetricSample) -> Iterator[Event]:
        series_name = series_id(sample)
        series = self._metrics.get(series_name)
        if series is None:
            if len(self._metrics) >= self._max_series:
                self.counts["series_cap"] += 1
                return
            series = MetricSeries(choose_detectors(self._policy.for_ship(sample.ship_id), sample), sample)
            self._metrics[series_name] = series
        findings = series.update(sample)
        if findings is None:
            self.counts["late"] += 1
            return
        for detector, finding in findings:
            yield Event(event.pos, event.at, metric_anomaly(event, sample, series_name, detector, finding))

    def _line(self, event: Event, line: LogMessage) -> Iterator[Event]:
        match = self._matcher(line.ship_id).match(line)
        if match is None:
            return
        name = f"{line.ship_id}/{line.device_id}/{line.service}/log:{match.rule.name}"
        yield from self._due_of(name, event)
        hit = Hit(line.tracking_id, line.ts, match.fields, line.msg[:MAX_TEXT])
        source = LineSource(line.ship_id, line.domain, line.service, line.device_id)
        known = self._patterns.get(name)
        if known is None:
            if len(self._patterns) >= self._max_series:
                self.counts["series_cap"] += 1
                return
            series = PatternSeries(_timing(self._policy.for_ship(line.ship_id)), hit, event.at)
        else:
            series = known[0]
        self._patterns[name] = (series, match.rule, source)
        report = series.hit(hit, event.at)
        self._deadlines.set(name, series.deadline)
        if report is not None:
            yield Event(event.pos, report.at, pattern_anomaly(event, name, match.rule, source, report))

    def _due_of(self, name: str, event: Event) -> Iterator[Event]:
        """Serve the deadlines of one series that lie at or before the event."""
        while (known := self._patterns.get(name)) is not None and known[0].deadline <= event.at:
            yield self._report(name, event, known[0].deadline)

    def _tick(self, event: Event) -> Iterator[Event]:
        for at, name in self._deadlines.due(event.at):
            yield self._report(name, event, at)
        for name in self._with_orphans:
            yield from self._clear_orphans(name, event)
        self._with_orphans.clear()
        if self._expire_at is None or event.at >= self._expire_at:
            self._expire_at = event.at + EXPIRY_EVERY
            yield from self._expire(event)

    def _report(self, name: str, event: Event, at: datetime) -> Event:
        series, rule, source = self._patterns[name]
        report = series.due(at)
        if report.cleared:
            del self._patterns[name]
        self._deadlines.set(name, None if report.cleared else series.deadline)
        return Event(event.pos, at, pattern_anomaly(event, name, rule, source, report))

    def _clear_orphans(self, name: str, event: Event) -> Iterator[Event]:
        series = self._metrics.get(name)
        if series is None:
            return
        for detector in series.orphans:
            reason = "policy no longer watches this"
            yield Event(event.pos, event.at, cleared_anomaly(event, series.last, name, detector, reason))
        series.orphans.clear()

    def _expire(self, event: Event) -> Iterator[Event]:
        for name, series in sorted(self._metrics.items()):
            limit = timedelta(seconds=self._policy.for_ship(series.last.ship_id).detect.series_expiry_s)
            if event.at - series.last.observed_at < limit:
                continue
            del self._metrics[name]
            for detector in series.firing():
                reason = f"no sample for {limit}, forgotten"
                yield Event(event.pos, event.at, cleared_anomaly(event, series.last, name, detector, reason))

    def _matcher(self, ship_id: str) -> PatternMatcher:
        matcher = self._matchers.get(ship_id)
        if matcher is None:
            if len(self._matchers) >= 1000:
                self._matchers.clear()
            matcher = self._matchers[ship_id] = PatternMatcher(_pattern_rules(self._policy.for_ship(ship_id)))
        return matcher

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "slots": self._slots,
            "expire_at": self._expire_at,
            "metrics": {name: series.snapshot() for name, series in self._metrics.items()},
            "patterns": {
                name: (series.snapshot(), tuple(rule), tuple(source))
                for name, (series, rule, source) in self._patterns.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; it then behaves as if it had never stopped."""
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"detect: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        if state["slots"] != self._slots:
            raise ValueError(
                f"detect: this state was kept in {state['slots']} slots, WATCHKEEPER_DETECT_SLOTS is {self._slots}; "
                "set it back, or move the recovery folder away to start afresh"
            )
        self._expire_at = state["expire_at"]
        for name, saved in state["metrics"].items():
            sample = MetricSample.model_validate(saved["last"])
            series = MetricSeries(choose_detectors(self._policy.for_ship(sample.ship_id), sample), sample)
            series.restore(saved)
            self._metrics[name] = series
            if series.orphans:
                self._with_orphans.append(name)
        for name, (saved, rule, parts) in state["patterns"].items():
            source = LineSource(*parts)
            pattern = PatternSeries.restored(_timing(self._policy.for_ship(source.ship_id)), saved)
            self._patterns[name] = (pattern, PatternRule(*rule), source)
            self._deadlines.set(name, pattern.deadline)


def _timing(policy: Policy) -> PatternTiming:
    detect = policy.detect
    return PatternTiming(
        detect.pattern_burst,
        timedelta(seconds=detect.pattern_repeat_s),
        timedelta(seconds=detect.pattern_clear_s),
    )


def _pattern_rules(policy: Policy) -> list[PatternRule]:
    return [
        PatternRule(name, rule.regex, rule.incident_type, rule.severity, rule.domain, rule.service, rule.min_level)
        for name, rule in policy.detect.patterns.items()
    ]
