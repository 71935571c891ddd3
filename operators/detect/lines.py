"""The log lines of one slot of detect: patterns, templates, rates and storms."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from operators.deadlines import Deadlines
from operators.detect.anomalies import MAX_TEXT, LineSource, log_anomaly, log_series_name, pattern_anomaly
from operators.detect.log_history import LogHistory
from operators.detect.log_rules import log_rules, pattern_rules, pattern_timing
from operators.detect.log_series import LogFinding, LogSeries
from operators.detect.pattern import Match, PatternRule
from operators.detect.pattern_series import Hit, PatternSeries
from operators.detect.prefilter import PrefilteredMatcher
from policy import PolicySet
from schemas.base import Level
from schemas.event import Event
from schemas.telemetry import LogMessage

MAX_SHIPS = 100
"""Ships a slot keeps templates and rates for; the lines of more are matched against patterns only."""

CAPS = {
    "template_cap": "detect.templates.max",
    "template_leaf": "detect.templates.leaf",
    "rate_cap": "detect.max_series",
}
"""Reasons for which lines are counted and not judged since there are too many kinds, and the policy that says so."""


class Cause(NamedTuple):
    """The line that a finding began with; incident_type is that of the pattern it matches, if any."""

    source: LineSource
    tracking_id: str
    ts: datetime
    level: Level = Level.INFO
    incident_type: str | None = None


class LineTable:
    """Feeds lines to the patterns of policy and to their ship's templates and rates.

    Deadlines are served at the first tick, or line of that series, not before them, each at its own
    time. counts holds what was not judged, by reason. State: at most max_series pattern series (until
    they clear), and a LogSeries a ship, taught from history when the ship's first line comes.
    """

    def __init__(self, policy: PolicySet, *, max_series: int, history: LogHistory | None = None) -> None:
        self._policy = policy
        self._history: LogHistory = history or {}
        self._max_series = max_series
        self._patterns: dict[str, tuple[PatternSeries, PatternRule, LineSource]] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._matchers: dict[str, PrefilteredMatcher] = {}
        self._ships: dict[str, LogSeries] = {}
        self._causes: dict[str, Cause] = {}
        self._ticked: datetime | None = None
        self.counts: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._capped: list[tuple[str, str]] = []

    def take(self, event: Event, line: LogMessage) -> Iterator[Event]:
        """Take one line."""
        source = LineSource(line.ship_id, line.domain, line.service, line.device_id)
        match = self._matcher(line.ship_id).match(line)
        if match is not None:
            yield from self._matched(event, line, source, match)
        ship = self._log_series(line.ship_id, event.at)
        if ship is not None:
            incident_type = None if match is None else match.rule.incident_type
            cause = Cause(source, line.tracking_id, line.ts, line.level, incident_type)
            for finding in ship.observe(line, event.at):
                yield self._found(event, line.ship_id, finding, cause)

    def tick(self, event: Event) -> Iterator[Event]:
        """Serve all deadlines up to the tick."""
        if self._ticked is not None and event.at < self._ticked:
            self._rewind(event.at)
        self._ticked = event.at
        for at, name in self._deadlines.due(event.at):
            yield self._report(name, event, at)
        for ship_id, ship in sorted(self._ships.items()):
            for finding in ship.due(event.at):
                yield self._found(event, ship_id, finding, None)

    def _rewind(self, at: datetime) -> None:
        """A tick before the last one: the clock was set back (see LogClock), and everything counts from there."""
        for name, (series, _, _) in self._patterns.items():
            series.rewind(at)
            self._deadlines.set(name, series.deadline)
        for ship in self._ships.values():
            ship.rewind(at)

    def expire(self, event: Event) -> None:
        """Forget the rates of what has been silent for too long."""
        for ship_id, ship in self._ships.items():
            ship.expire(event.at - timedelta(seconds=self._policy.for_ship(ship_id).detect.series_expiry_s))

    def take_counts(self) -> Counter[str]:
        """What was not judged since the last call, by reason."""
        out, self.counts = self.counts, Counter()
        for ship_id, ship in self._ships.items():
            if (counts := ship.take_counts()) is not None:
                out.update(counts)
                self._told_caps(ship_id, counts)
        return out

    def _told_caps(self, ship_id: str, counts: Counter[str]) -> None:
        for reason in CAPS.keys() & counts.keys():
            if (ship_id, reason) not in self._told:
                self._told.add((ship_id, reason))
                self._capped.append((ship_id, reason))

    def take_capped(self) -> list[tuple[str, str]]:
        """Ships whose lines went beyond one of CAPS for the first time (since the start), with its name."""
        capped, self._capped = self._capped, []
        return sorted(capped)

    def _matched(self, event: Event, line: LogMessage, source: LineSource, match: Match) -> Iterator[Event]:
        name = f"{line.ship_id}/{line.device_id}/{line.service}/log:{match.rule.name}"
        yield from self._due_of(name, event)
        hit = Hit(line.tracking_id, line.ts, match.fields, line.msg[:MAX_TEXT])
        known = self._patterns.get(name)
        if known is None and len(self._patterns) >= self._max_series:
            self.counts["series_cap"] += 1
            return
        timing = pattern_timing(self._policy.for_ship(line.ship_id))
        series = known[0] if known is not None else PatternSeries(timing, hit, event.at)
        self._patterns[name] = (series, match.rule, source)
        report = series.hit(hit, event.at)
        self._deadlines.set(name, series.deadline)
        if report is not None:
            yield Event(event.pos, report.at, pattern_anomaly(event, name, match.rule, source, report))

    def _due_of(self, name: str, event: Event) -> Iterator[Event]:
        """Serve the deadlines of one series that lie at or before the event."""
        while (known := self._patterns.get(name)) is not None and known[0].deadline <= event.at:
            yield self._report(name, event, known[0].deadline)

    def _report(self, name: str, event: Event, at: datetime) -> Event:
        series, rule, source = self._patterns[name]
        report = series.due(at)
        if report.cleared:
            del self._patterns[name]
        self._deadlines.set(name, None if report.cleared else series.deadline)
        return Event(event.pos, at, pattern_anomaly(event, name, rule, source, report))

    def _found(self, event: Event, ship_id: str, finding: LogFinding, cause: Cause | None) -> Event:
        """A finding as anomaly; it clears under the line that it fired with."""
        name = log_series_name(ship_id, finding)
        known = self._causes.get(name) or cause
        assert known is not None  # what clears has fired, and firing needs a line
        if finding.state == "firing":
            self._causes[name] = known
        else:
            self._causes.pop(name, None)
        anomaly = log_anomaly(
            event,
            name,
            finding,
            known.source,
            known.tracking_id,
            known.ts,
            incident_type=known.incident_type,
            severity=self._policy.for_ship(ship_id).detect.templates.severity.get(known.level),
        )
        return Event(event.pos, finding.at, anomaly)

    def _matcher(self, ship_id: str) -> PrefilteredMatcher:
        matcher = self._matchers.get(ship_id)
        if matcher is None:
            if len(self._matchers) >= 1000:
                self._matchers.clear()
            matcher = self._matchers[ship_id] = PrefilteredMatcher(pattern_rules(self._policy.for_ship(ship_id)))
        return matcher

    def _log_series(self, ship_id: str, at: datetime) -> LogSeries | None:
        """The ship's templates and rates; none where policy wants none, or for more ships than a slot holds."""
        ship = self._ships.get(ship_id)
        if ship is None and self._policy.for_ship(ship_id).detect.log_series:
            if len(self._ships) >= MAX_SHIPS:
                self.counts["ship_cap"] += 1
                return None
            ship = self._ships[ship_id] = LogSeries(log_rules(self._policy.for_ship(ship_id)))
            if ship_id in self._history:
                ship.teach(self._history[ship_id], at)
        return ship

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "patterns": {
                name: (series.snapshot(), tuple(rule), tuple(source))
                for name, (series, rule, source) in self._patterns.items()
            },
            "ships": {ship_id: ship.snapshot() for ship_id, ship in self._ships.items()},
            "ticked": self._ticked,
            "causes": {
                name: (tuple(cause.source), cause.tracking_id, cause.ts, cause.level.value, cause.incident_type)
                for name, cause in self._causes.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot (older ones have no "ticked")."""
        self._ticked = state.get("ticked")
        for name, (saved, rule, parts) in state["patterns"].items():
            source = LineSource(*parts)
            pattern = PatternSeries.restored(pattern_timing(self._policy.for_ship(source.ship_id)), saved)
            self._patterns[name] = (pattern, PatternRule(*rule), source)
            self._deadlines.set(name, pattern.deadline)
        for ship_id, saved in state["ships"].items():
            self._ships[ship_id] = LogSeries.restored(log_rules(self._policy.for_ship(ship_id)), saved)
        for name, (parts, tracking_id, ts, *rest) in state["causes"].items():
            level, incident_type = rest or (Level.INFO, None)
            self._causes[name] = Cause(LineSource(*parts), tracking_id, ts, Level(level), incident_type)
