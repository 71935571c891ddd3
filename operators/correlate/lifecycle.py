"""The life of an incident: open, update, escalate, resolve, reopen, end by age."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from operators.correlate.classify import Situation
from operators.correlate.decision import Decision
from operators.correlate.incident_state import IncidentState
from policy.correlate import CorrelatePolicy, IncidentTypePolicy
from schemas.anomaly import AnomalyEnriched
from schemas.identity import content_uuid
from schemas.incident import Incident, IncidentEvent, Scope
from schemas.insight import EnrichmentRequest


class Lifecycle:
    """Changes one incident at a time and gives the revisions that people must see.

    Opening, escalation, resolution and reopening are published at once; other changes at most once
    in update_throttle_s. An incident resolves when every series has cleared and hold_s has passed;
    within suppression_ttl_s of that its key reopens it. Past max_age_s it takes nothing more: the next
    anomaly closes it and opens a successor. One of which nothing is heard for forget_s is closed.
    Times are log time.
    """

    def __init__(self, policy: CorrelatePolicy) -> None:
        self._policy = policy
        self._throttle = timedelta(seconds=policy.update_throttle_s)
        self._reopen = timedelta(seconds=policy.suppression_ttl_s)
        self._forget = timedelta(seconds=policy.forget_s)

    def new(
        self,
        ship_id: str,
        situation: Situation,
        anomalies: Sequence[AnomalyEnriched],
        now: datetime,
        *,
        after: IncidentState | None = None,
    ) -> IncidentState:
        """The state of an incident about to open on these anomalies (pos-first first)."""
        first = anomalies[0]
        fingerprint = f"{ship_id}|{situation.key}"
        incident = Incident(
            tracking_id=first.tracking_id,
            ship_id=ship_id,
            incident_id=content_uuid("incident", ship_id, situation.key, first.anomaly_id),
            revision=1,
            incident_type=situation.incident_type,
            severity=max((each.severity for each in anomalies), key=lambda severity: severity.rank),
            status="open",
            domain=first.domain,
            title=f"{situation.policy.title} on {first.device_id}",
            corr_keys=situation.corr_keys,
            suppress_key=fingerprint,
            fingerprint=fingerprint,
            scope=(Scope(device_id=first.device_id, service=first.service),),
            opened_at=now,
            updated_at=now,
            anomaly_count=0,
            evidence=(),
            timeline=(),
            successor_of=after.incident.incident_id if after is not None else None,
        )
        return IncidentState(incident, published_at=now, heard_at=now)

    def open(self, state: IncidentState, anomalies: Sequence[AnomalyEnriched], now: datetime) -> Iterator[Decision]:
        """Open the incident on its first anomalies."""
        self._rest_on(state, anomalies, now)
        count = sum(each.count for each in anomalies)
        reason = anomalies[-1].msg if count == 1 else f"{count} findings, the last: {anomalies[-1].msg}"
        self._log(state, now, "created", reason)
        yield from self._publish(state, "created", now, anomalies[-1].observed_at, first=True)

    def absorb(
        self, state: IncidentState, anomaly: AnomalyEnriched, now: datetime, *, is_duplicate: bool
    ) -> Iterator[Decision]:
        """Rest the active incident on one more anomaly."""
        before = state.incident.severity
        self._rest_on(state, [anomaly], now, is_duplicate=is_duplicate)
        if anomaly.severity.rank > before.rank:
            state.change(severity=anomaly.severity)
            self._log(state, now, "escalated", f"{before} to {anomaly.severity}: {anomaly.msg}")
            yield from self._publish(state, "escalated", now, anomaly.observed_at)
        elif now - state.published_at >= self._throttle_of(state):
            yield from self._publish(state, "updated", now, anomaly.observed_at)

    def reopen(self, state: IncidentState, anomalies: Sequence[AnomalyEnriched], now: datetime) -> Iterator[Decision]:
        """Open a resolved incident again: the same incident, its next revision."""
        severity = max((each.severity for each in anomalies), key=lambda severity: severity.rank)
        state.change(status="open", resolved_at=None, severity=severity)
        self._rest_on(state, anomalies, now)
        self._log(state, now, "reopened", anomalies[-1].msg)
        yield from self._publish(state, "reopened", now, anomalies[-1].observed_at)

    def clear(self, state: IncidentState, source: str, now: datetime) -> None:
        """One source has cleared; when none fires any more the hold begins."""
        state.firing.pop(source, None)
        if not state.firing and state.cleared_at is None:
            state.cleared_at = now

    def serve(self, state: IncidentState, due: datetime) -> Iterator[Decision]:
        """Do what the deadline `due` asks for."""
        if not state.active:
            return
        hold = self._hold(state)
        if state.cleared_at is not None and state.cleared_at + hold <= due:
            yield from self._resolve(state, due, f"nothing has fired for {_words(hold)}")
        elif state.heard_at + self._forget <= due:
            yield from self._resolve(state, due, f"nothing more was heard of it for {_words(self._forget)}")
        elif state.dirty and state.published_at + self._throttle_of(state) <= due:
            yield from self._publish(state, "updated", due, None)

    def is_too_old(self, state: IncidentState, now: datetime) -> bool:
        """Past its maximum age: it takes nothing more, what comes now is another incident."""
        return now >= state.incident.opened_at + timedelta(seconds=self._type(state).max_age_s)

    def hand_over(self, old: IncidentState, new: IncidentState, now: datetime) -> Iterator[Decision]:
        """Close an incident by age; the new one goes on with what still fires."""
        new.firing.update(old.firing)
        scope = [each for each in old.incident.scope if each not in new.incident.scope]
        worst = max(old.incident.severity, new.incident.severity, key=lambda severity: severity.rank)
        new.change(scope=(*new.incident.scope, *scope), severity=worst if old.firing else new.incident.severity)
        yield from self._resolve(old, now, f"closed by age, goes on in {new.incident.incident_id}")

    def next_deadline(self, state: IncidentState) -> datetime:
        """When serve() has something to do, or is_over() becomes true."""
        return state.next_deadline(
            hold=self._hold(state), throttle=self._throttle_of(state), forget=self._forget, reopen=self._reopen
        )

    def is_over(self, state: IncidentState, due: datetime) -> bool:
        """Resolved, and the time to reopen it has passed."""
        resolved_at = state.incident.resolved_at
        return resolved_at is not None and resolved_at + self._reopen <= due

    def _rest_on(
        self, state: IncidentState, anomalies: Sequence[AnomalyEnriched], now: datetime, *, is_duplicate: bool = False
    ) -> None:
        for anomaly in anomalies:
            state.firing[anomaly.source] = now
            state.heard_at = now
            state.change(anomaly_count=state.incident.anomaly_count + anomaly.count)
            if is_duplicate:
                state.change(duplicate_count=state.incident.duplicate_count + 1)
            else:
                state.add_evidence(anomaly, self._policy.max_evidence)
        state.cleared_at = None

    def _resolve(self, state: IncidentState, at: datetime, reason: str) -> Iterator[Decision]:
        state.change(status="resolved", resolved_at=at)
        state.firing.clear()
        state.cleared_at = None
        self._log(state, at, "resolved", reason)
        yield from self._publish(state, "resolved", at, None)

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
        if event in ("created", "escalated", "reopened"):
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

    def _log(self, state: IncidentState, at: datetime, event: str, reason: str) -> None:
        state.log(at, event, "watchkeeper", reason, self._policy.max_timeline)

    def _throttle_of(self, state: IncidentState) -> timedelta:
        """Longer by as much for every ten revisions, up to 60 times: what lasts needs no new word each time."""
        return self._throttle * min(1 + state.incident.revision // 10, 60)

    def _hold(self, state: IncidentState) -> timedelta:
        return timedelta(seconds=self._type(state).hold_s)

    def _type(self, state: IncidentState) -> IncidentTypePolicy:
        """The incident's type; the default one where policy has dropped it since the incident opened."""
        types = self._policy.incident_types
        return types.get(state.incident.incident_type) or types[self._policy.default_incident_type]


def _words(duration: timedelta) -> str:
    """A duration as people say it.

    >>> _words(timedelta(seconds=90)), _words(timedelta(hours=24))
    ('1 min 30 s', '24 h')
    """
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if value]
    return " ".join(parts) or "0 s"
