"""The life of an incident: open, update, escalate, resolve, reopen, end by age."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from operators.correlate.answers import SELF
from operators.correlate.classify import Situation
from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState
from operators.correlate.matchers import Scope as About
from operators.correlate.opening import worst
from policy.correlate import CorrelatePolicy
from schemas.anomaly import AnomalyEnriched
from schemas.identity import content_uuid
from schemas.incident import IncidentEvent, IncidentStatus
from schemas.insight import EnrichmentRequest

SHORTEST_HOLD = timedelta(minutes=1)
"""What doubles when a hold shorter than this is reopened."""


class Lifecycle:
    """Changes one incident at a time and gives the revisions that people must see.

    Opening, escalation, resolution and reopening are published at once; other changes at most once
    in update_throttle_s. An incident resolves when every series has cleared and the hold has passed;
    within suppression_ttl_s of that its key reopens it. The hold is hold_s, and twice as long with each
    reopening up to suppression_ttl_s, so that what comes and goes all night is told a few times. Past
    max_age_s an incident takes nothing more: the next anomaly closes it and opens a successor. One of
    which nothing is heard for forget_s is closed. Times are log time.
    """

    def __init__(self, policy: CorrelatePolicy) -> None:
        self._policy = policy
        self._throttle = timedelta(seconds=policy.update_throttle_s)
        self._reopen = timedelta(seconds=policy.suppression_ttl_s)
        self._forget = timedelta(seconds=policy.forget_s)

    def open(
        self, state: IncidentState, situation: Situation, anomalies: Sequence[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        """Tell of a new incident that rests on its first anomalies."""
        settle(state)
        count = sum(each.count for each in anomalies)
        reason = anomalies[-1].msg if count == 1 else f"{count} findings, the last: {anomalies[-1].msg}"
        self._log(state, now, "created", reason)
        yield from self._publish(state, "created", now, anomalies[-1].observed_at, first=True)

    def absorb(
        self,
        state: IncidentState,
        situation: Situation,
        anomaly: AnomalyEnriched,
        now: datetime,
        *,
        is_duplicate: bool,
    ) -> Iterator[Decision]:
        """Rest the active incident on one more anomaly."""
        before, severity = state.incident.severity, worst([anomaly], situation)
        self.rest_on(state, [anomaly], now, is_duplicate=is_duplicate)
        if severity.rank > before.rank:
            state.change(severity=severity)
            self._log(state, now, "escalated", f"{before} to {severity}: {anomaly.msg}")
            yield from self._publish(state, "escalated", now, anomaly.observed_at)
        elif now - state.published_at >= self._throttle_of(state):
            yield from self._publish(state, "updated", now, anomaly.observed_at)

    def reopen(
        self, state: IncidentState, situation: Situation, anomalies: Sequence[AnomalyEnriched], now: datetime
    ) -> Iterator[Decision]:
        """Tell of a resolved incident that is open again: the same incident, its next revision."""
        state.acknowledged = False
        state.reopened += 1
        state.change(resolved_at=None, severity=worst(anomalies, situation))
        settle(state)
        self._log(state, now, "reopened", anomalies[-1].msg)
        yield from self._publish(state, "reopened", now, anomalies[-1].observed_at)

    def clear(self, state: IncidentState, source: str, now: datetime) -> None:
        """One source has cleared; when none fires any more the hold begins."""
        if state.firing.pop(source, None) is not None and not state.firing and state.active:
            state.cleared_at = now

    def serve(self, state: IncidentState, due: datetime) -> Iterator[Decision]:
        """Do what the deadline `due` asks for."""
        if not state.active:
            return
        hold = self._hold(state)
        if state.cleared_at is not None and state.cleared_at + hold <= due:
            yield from self.resolve(state, due, f"nothing has fired for {_words(hold)}")
        elif state.heard_at + self._forget <= due:
            yield from self.resolve(state, due, f"nothing more was heard of it for {_words(self._forget)}")
        elif state.dirty and state.published_at + self._throttle_of(state) <= due:
            yield from self._publish(state, "updated", due, None)

    def is_too_old(self, state: IncidentState, now: datetime) -> bool:
        """Past its maximum age: it takes nothing more, what comes now is another incident."""
        return now >= self.ends_by_age(state)

    def ends_by_age(self, state: IncidentState) -> datetime:
        """When it is past its maximum age."""
        return state.incident.opened_at + timedelta(seconds=state.terms.max_age_s)

    def next_deadline(self, state: IncidentState) -> datetime:
        """When serve() has something to do, or is_over() becomes true."""
        return state.next_deadline(
            hold=self._hold(state), throttle=self._throttle_of(state), forget=self._forget, reopen=self._reopen
        )

    def is_over(self, state: IncidentState, due: datetime) -> bool:
        """Resolved, and the time to reopen it has passed."""
        resolved_at = state.incident.resolved_at
        return resolved_at is not None and resolved_at + self._reopen <= due

    def rest_on(
        self, state: IncidentState, anomalies: Sequence[AnomalyEnriched], now: datetime, *, is_duplicate: bool = False
    ) -> None:
        """Let the incident rest on more anomalies, without a word."""
        for anomaly in anomalies:
            state.firing[anomaly.source] = now
            state.heard_at = now
            about = About(anomaly.device_id, anomaly.service, anomaly.metric_name, anomaly.rule)
            state.concern((about,), self._policy.max_evidence)
            state.change(anomaly_count=state.incident.anomaly_count + anomaly.count)
            if is_duplicate:
                state.change(duplicate_count=state.incident.duplicate_count + 1)
            else:
                state.add_evidence(anomaly, self._policy.max_evidence)
        state.cleared_at = None

    def resolve(
        self, state: IncidentState, at: datetime, reason: str, *, by: str = SELF, event: IncidentEvent = "resolved"
    ) -> Iterator[Decision]:
        """End the incident, for this reason; what a person has resolved may fire on, and reopened it fires still."""
        state.change(status="resolved", resolved_at=at, inhibited_by=None)
        if by == SELF:
            state.firing.clear()
        state.mutes.clear()
        state.cleared_at = None
        self._log(state, at, event, reason, by)
        yield from self._publish(state, event, at, None)

    def say(
        self,
        state: IncidentState,
        event: IncidentEvent,
        at: datetime,
        reason: str,
        *,
        by: str = SELF,
        first: bool = False,
    ) -> Iterator[Decision]:
        """Publish a change, with who made it and why."""
        self._log(state, at, event, reason, by)
        yield from self._publish(state, event, at, None, first=first)

    def note(self, state: IncidentState, event: str, at: datetime, reason: str) -> None:
        """Put something on the timeline that the next revision will say."""
        self._log(state, at, event, reason)

    def _publish(
        self,
        state: IncidentState,
        event: IncidentEvent,
        at: datetime,
        observed_at: datetime | None,
        *,
        first: bool = False,
    ) -> Iterator[Decision]:
        published = state.publish(event, at, first=first)
        yield Decision(published, observed_at)
        if event in ("created", "escalated", "reopened", "surfaced") and state.visible:
            request = EnrichmentRequest(
                tracking_id=published.tracking_id,
                ship_id=published.ship_id,
                request_id=content_uuid("enrichment", published.incident_id, str(published.revision)),
                incident_id=published.incident_id,
                revision=published.revision,
                severity=published.severity,
                requested_at=at,
                incident=state.incident,
            )
            yield Decision(request, None)

    def _log(self, state: IncidentState, at: datetime, event: str, reason: str, by: str = SELF) -> None:
        state.log(at, event, by, reason, self._policy.max_timeline)

    def _throttle_of(self, state: IncidentState) -> timedelta:
        """Longer by as much for every ten revisions, up to 60 times: what lasts needs no new word each time."""
        return self._throttle * min(1 + state.incident.revision // 10, 60)

    def _hold(self, state: IncidentState) -> timedelta:
        hold = timedelta(seconds=state.terms.hold_s)
        if not state.reopened:
            return hold
        return max(hold, min(max(hold, SHORTEST_HOLD) * (1 << min(state.reopened, 20)), self._reopen))


def settle(state: IncidentState) -> None:
    """Give an active incident the status it must have: suppressed while muted, else what people have made of it."""
    status: IncidentStatus = "suppressed" if state.mutes else "ack" if state.acknowledged else "open"
    by = next((mute.by for mute in state.mutes.values() if mute.kind in ("inhibited", "storm")), None)
    if (state.incident.status, state.incident.inhibited_by) != (status, by):
        state.change(status=status, inhibited_by=by)


def _words(duration: timedelta) -> str:
    """A duration as people say it.

    >>> _words(timedelta(seconds=90)), _words(timedelta(hours=24))
    ('1 min 30 s', '24 h')
    """
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if value]
    return " ".join(parts) or "0 s"
