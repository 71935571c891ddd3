"""All that is watched in one ship's log lines beside patterns: templates, rates and storms."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from operators.detect.log_history import ShipHistory, series_of
from operators.detect.rate import RateRule
from operators.detect.storm import LogStorms, StormFinding
from operators.detect.templates import TemplateFinding, TemplateRule, Templates
from operators.mask import masked
from schemas.telemetry import LogMessage

SNAPSHOT_VERSION = 1

LogFinding = TemplateFinding | StormFinding


class LogRules(NamedTuple):
    """What policy.detect says of templates and rates; max_series bounds the rates' series."""

    templates: TemplateRule
    rates: RateRule
    max_series: int


class LogSeries:
    """Feeds one ship's lines to its templates and rates.

    observe() takes lines in order of position and serves the deadlines up to each first; due() serves
    them at a tick. Time is log time. State: that of Templates and LogStorms.
    """

    def __init__(self, rules: LogRules) -> None:
        self._rules = rules
        self.templates = Templates(rules.templates)
        self.storms = LogStorms(rules.rates, self.templates.template, max_series=rules.max_series)

    def observe(self, line: LogMessage, at: datetime) -> list[LogFinding]:
        """Take one line that arrived at `at`; gives what cleared before it, then what it brings."""
        out: list[LogFinding] = []
        deadline = self.deadline
        if deadline is not None and deadline <= at:
            out = self.due(at)
        form = masked(line.msg)
        template, news = self.templates.observe(form, line.level, at)
        storm = self.storms.add(line.device_id, line.service, line.level, template, line.ts, at, form)
        if news is not None:
            out.append(news)
        if storm is not None:
            out.append(storm)
        return out

    def teach(self, history: ShipHistory, at: datetime) -> None:
        """Take what is known from before `at`, the arrival of the first line; only before that line.

        Forms first seen later are not known yet, and windows that end later not over: a backlog is
        judged as it was when it was new.
        """
        ids = {
            form.hash: self.templates.teach(masked(form.example), form.lines, form.first)
            for form in history.forms
            if form.first < at
        }
        window_s = self._rules.rates.window_s
        if history.window_s == window_s:
            until = self._rules.rates.window(at.timestamp())
            for origin, series, first, counts in series_of(history, ids, until):
                self.storms.teach(origin, series, datetime.fromtimestamp(first * window_s, UTC), counts)
        self.take_counts()

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`."""
        self.templates.rewind(at)
        self.storms.rewind(at)

    @property
    def deadline(self) -> datetime | None:
        """When due() has something to do."""
        first, second = self.templates.deadline, self.storms.deadline
        if first is None or second is None:
            return first or second
        return min(first, second)

    def due(self, at: datetime) -> list[LogFinding]:
        """Serve every deadline up to `at`, each at its own time, earliest first."""
        out: list[LogFinding] = []
        while (deadline := self.deadline) is not None and deadline <= at:
            out += self.templates.due(deadline)
            out += self.storms.due(deadline)
        return out

    def expire(self, before: datetime) -> None:
        """Forget the rates of what has written nothing since `before`; templates are kept."""
        self.storms.expire(before)

    def take_counts(self) -> Counter[str] | None:
        """What was not judged since the last call, by reason; None for nothing."""
        if not (self.templates.counts or self.storms.counts):
            return None
        found = self.templates.counts + self.storms.counts
        self.templates.counts.clear()
        self.storms.counts.clear()
        return found

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"v": SNAPSHOT_VERSION, "templates": self.templates.snapshot(), "storms": self.storms.snapshot()}

    @classmethod
    def restored(cls, rules: LogRules, state: dict[str, Any]) -> Self:
        """What goes on from a snapshot.

        Raises:
            ValueError: for a snapshot of another version.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"logs: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self = cls(rules)
        self.templates = Templates.restored(rules.templates, state["templates"])
        self.storms = LogStorms.restored(
            rules.rates, self.templates.template, state["storms"], max_series=rules.max_series
        )
        return self
