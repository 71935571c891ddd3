"""The metric series of one slot of detect."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeVar

from operators.detect.anomalies import cleared_anomaly, metric_anomaly
from operators.detect.choose import Chosen, choose, metric_rule
from operators.detect.metric_series import MetricSeries, Subject, Watch, role_of
from operators.detect.saved_rows import SavedRows
from operators.detect.silence_board import Change, Quiet, SilenceNote
from operators.detect.stale import Stale, StaleSettings
from operators.detect.tail import TailSettings
from policy import Policy, PolicySet
from schemas.base import SCHEMA_VERSION
from schemas.event import Event
from schemas.identity import content_uuid
from schemas.telemetry import MetricSample, series_id, trusted

Found = Event | SilenceNote
Plan = tuple[Chosen, Watch, StaleSettings | None]
"""How all series of one kind are watched."""

_NONE = content_uuid("none")
_EPOCH = datetime.fromtimestamp(0, UTC)
Thing = TypeVar("Thing", bound=Hashable)


class SampleTable:
    """Feeds samples to their series, each with the detectors that policy chooses for it.

    Series unseen for policy.detect.series_expiry_s are forgotten, and what still fires then, or is
    watched by policy no longer, is cleared. Whose silence begins or ends goes out as SilenceNote: ends
    with the sample that ends them, the rest at tick(). After a pause of the log itself (no tick() for
    pause_s) silence counts anew. counts holds what was not judged, by reason. State: that of at most
    max_series series, and their rows of the last snapshot (SavedRows).
    """

    def __init__(self, policy: PolicySet, *, max_series: int, pause_s: float = 150.0) -> None:
        self._policy = policy
        self._max_series = max_series
        self._pause_s = pause_s
        self._series: dict[str, MetricSeries] = {}
        self._with_orphans: list[str] = []
        self._shared: dict[Any, Any] = {}
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._ticked: float | None = None
        self._resumed = float("-inf")
        self._saved = SavedRows()
        self.counts: Counter[str] = Counter()

    def take(self, event: Event, sample: MetricSample, name: str = "") -> Iterable[Found]:
        """Take one sample; its arrival counts as a sign of life whatever its value and time.

        name: that of its series, for who knows it already.
        """
        name = name or series_id(sample)
        series = self._series.get(name)
        if series is None:
            if len(self._series) >= self._max_series:
                self.counts["series_cap"] += 1
                return ()
            series = self._series[name] = self._new(sample)
            self._saved.number(series)
        self._saved.changed[name] = series
        arrived = series.arrived = event.at.timestamp()
        heard = series.stale.seen(arrived) if series.stale is not None else None
        found = series.update(sample)
        if isinstance(found, str):
            self.counts[found] += 1
            found = ()
        if heard is None and not found:
            return ()
        out: list[Found] = [
            Event(event.pos, event.at, metric_anomaly(event, sample, name, role, finding)) for role, finding in found
        ]
        if heard is not None:
            out.append(_note(event, "heard", name, series))
        return out

    def _new(self, sample: MetricSample) -> MetricSeries:
        kind = (sample.ship_id, sample.domain, sample.service, sample.metric_name, sample.unit)
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = self._plan(sample)
        chosen, watch, stale = plan
        machines = tuple([detector.machine for detector in chosen.detectors()])
        place = self._same((self._same(sample.ship_id), self._same(sample.device_id)))
        return MetricSeries(
            self._same(watch), machines, None if stale is None else Stale(stale), place, sample.tracking_id
        )

    def _plan(self, sample: MetricSample) -> Plan:
        policy = self._policy.for_ship(sample.ship_id)
        chosen, rule = choose(policy, sample), metric_rule(policy, sample)
        watch = Watch(
            self._same(Subject(sample.domain, sample.service, sample.metric_name, sample.unit)),
            self._same(tuple(role_of(detector) for detector in chosen.detectors())),
            rule.valid_min if rule.valid_min is not None else float("-inf"),
            rule.valid_max if rule.valid_max is not None else float("inf"),
        )
        return chosen, watch, _stale(policy, sample.metric_name)

    def _same(self, thing: Thing) -> Thing:
        """One object for all that are equal: most series differ from another in little."""
        same: Thing = self._shared.setdefault(thing, thing)
        return same

    def tick(self, event: Event) -> Iterator[Found]:
        """Tell what is overdue, and clear what a changed policy left behind."""
        at = event.at.timestamp()
        if self._ticked is not None and at - self._ticked > self._pause_s:
            self._resumed = at
        self._ticked = at
        self._resumed = min(self._resumed, at)  # the clock may have been set back
        for name, series in self._series.items():
            stale = series.stale
            if stale is None:
                if series.watched:
                    series.watched = False
                    self._saved.changed[name] = series
                    yield _note(event, "forgotten", name, series)
                continue
            if not series.watched and stale.known:
                series.watched = True
                self._saved.changed[name] = series
                yield _note(event, "watched", name, series)
            if (overdue := stale.due(at, self._resumed)) is not None:
                self._saved.changed[name] = series
                yield _note(event, "silent", name, series, overdue.score, overdue.msg)
        for name in self._with_orphans:
            yield from self._clear_orphans(name, event)
        self._with_orphans.clear()

    def _clear_orphans(self, name: str, event: Event) -> Iterator[Event]:
        series = self._series.get(name)
        if series is None:
            return
        for role in series.orphans:
            reason = "policy no longer watches this"
            yield Event(event.pos, event.at, cleared_anomaly(event, series, name, role, reason))
        series.orphans = ()
        self._saved.changed[name] = series

    def expire(self, event: Event) -> Iterator[Found]:
        """Forget what has been silent for too long."""
        now, before = event.at.timestamp(), len(self._series)
        for name, series in sorted(self._series.items()):
            limit_s = self._policy.for_ship(series.place[0]).detect.series_expiry_s
            if now - series.arrived < limit_s:
                continue
            del self._series[name]
            if series.watched:
                yield _note(event, "forgotten", name, series)
            for role in series.firing():
                reason = f"no sample for {timedelta(seconds=limit_s)}, forgotten"
                yield Event(event.pos, event.at, cleared_anomaly(event, series, name, role, reason))
        self._shrink()
        if len(self._series) < before:
            self._saved.forget_all(self._series)

    def settle(self) -> None:
        """Do now what the end of the epoch would otherwise wait for; call it after each batch."""
        self._saved.settle()

    def _shrink(self) -> None:
        """Let go of what only forgotten series had in common."""
        self._shared.clear()
        self._plans.clear()
        for series in self._series.values():
            watch = series.watch
            for thing in (watch, watch.subject, watch.roles, series.place, *series.place):
                self._same(thing)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {**self._saved.snapshot(self._series), "times": (self._ticked, self._resumed)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._ticked, self._resumed = state["times"]
        for name, place, subject, saved in self._saved.restore(state):
            series = self._new(_like(place, subject))
            series.restore(saved)
            self._series[name] = series
            if series.orphans:
                self._with_orphans.append(name)
            if list(saved[1]) != [role.name for role in series.watch.roles]:
                self._saved.changed[name] = series  # policy sets other detectors now


def _like(place: tuple[str, str], subject: Subject) -> MetricSample:
    """A sample of that series, to ask policy about."""
    return trusted(
        MetricSample,
        {
            "schema_version": SCHEMA_VERSION,
            "tracking_id": _NONE,
            "ship_id": place[0],
            "error_msg": None,
            "ts": _EPOCH,
            "observed_at": _EPOCH,
            "domain": subject.domain,
            "service": subject.service,
            "device_id": place[1],
            "metric_name": subject.metric_name,
            "metric_value": 0.0,
            "unit": subject.unit,
            "labels": {},
        },
    )


def _note(
    event: Event, kind: Change, name: str, series: MetricSeries, score: float = 0.0, msg: str = ""
) -> SilenceNote:
    domain, service, metric_name, _ = series.watch.subject
    ship_id, device_id = series.place
    quiet = Quiet(device_id, domain, service, metric_name, series.tracking_id, series.arrived, score, msg)
    return SilenceNote(event.pos, event.at, kind, ship_id, name, quiet)


def _stale(policy: Policy, metric_name: str) -> StaleSettings | None:
    silence = policy.detect.silence
    if not silence.enabled or any(fnmatchcase(metric_name, glob) for glob in silence.exclude):
        return None
    return _stale_settings(silence.min_s, silence.min_gaps, policy.detect.outliers.risk_per_sample)


@lru_cache(maxsize=256)
def _stale_settings(min_s: float, min_gaps: int, risk: float) -> StaleSettings:
    """Shared by all series of the same policy."""
    return StaleSettings(min_s, min_gaps, tail=TailSettings(3.0, risk, shape=3.0, scale=1.0))
