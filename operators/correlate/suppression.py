"""What is held back, and the record that says why."""

from datetime import datetime, timedelta

from operators.correlate.bounds import FINGERPRINT_BYTES, REASON_BYTES, cut, identity
from operators.correlate.incident_state import IncidentState, Mute
from schemas.anomaly import AnomalyEnriched
from schemas.identity import content_uuid
from schemas.incident import SuppressionKind, SuppressionRecord

MAX_REMEMBERED = 1000


def remember(state: IncidentState, anomaly: AnomalyEnriched, now: datetime, ttl: timedelta) -> SuppressionRecord | None:
    """Note the anomaly's fingerprint; if it is remembered already, say that this is a duplicate.

    A fingerprint is remembered for ttl (log time) from its first finding, so a lasting situation
    brings fresh evidence once a ttl. At most 1000 are kept; the earliest to expire gives way.
    """
    fingerprint = identity(anomaly.fingerprint, FINGERPRINT_BYTES)
    until = state.seen.get(fingerprint)
    if until is not None and now < until:
        return _record(state, anomaly, now, until)
    if len(state.seen) >= MAX_REMEMBERED:
        state.seen = {key: end for key, end in state.seen.items() if end > now}
        while len(state.seen) >= MAX_REMEMBERED:
            del state.seen[min(state.seen, key=lambda key: (state.seen[key], key))]
    state.seen[fingerprint] = now + ttl
    return None


def reopened(state: IncidentState, anomaly: AnomalyEnriched, now: datetime, ttl: timedelta) -> SuppressionRecord:
    """Say that no new incident was raised: the same suppress key had one that resolved within ttl."""
    incident = state.incident
    reason = f"incident {incident.incident_id} of the same key resolved less than {ttl} ago, it is reopened instead"
    until = (incident.resolved_at or now) + ttl
    return _record(state, anomaly, now, until, kind="suppressed", reason=reason)


def held_back(state: IncidentState, mute: Mute, now: datetime) -> SuppressionRecord:
    """Say that people are not told of an incident, by what and until when (a day on, where no end is known)."""
    incident = state.incident
    return SuppressionRecord(
        tracking_id=incident.tracking_id,
        ship_id=incident.ship_id,
        record_id=content_uuid(mute.kind, mute.by, incident.incident_id, str(incident.revision), now.isoformat()),
        ts=now,
        kind=mute.kind,
        by=mute.by,
        until=mute.until or now + timedelta(days=1),
        reason=cut(mute.reason, REASON_BYTES),
        incident_id=incident.incident_id,
        fingerprint=incident.fingerprint,
        suppress_key=incident.suppress_key,
    )


def _record(
    state: IncidentState,
    anomaly: AnomalyEnriched,
    now: datetime,
    until: datetime,
    *,
    kind: SuppressionKind = "duplicate",
    reason: str | None = None,
) -> SuppressionRecord:
    incident_id = state.incident.incident_id
    return SuppressionRecord(
        tracking_id=anomaly.tracking_id,
        ship_id=anomaly.ship_id,
        record_id=content_uuid(kind, incident_id, anomaly.anomaly_id),
        ts=now,
        kind=kind,
        by=incident_id,
        until=until,
        reason=reason or f"the same finding is already evidence of incident {incident_id}",
        anomaly_id=anomaly.anomaly_id,
        incident_id=incident_id,
        fingerprint=identity(anomaly.fingerprint, FINGERPRINT_BYTES),
        suppress_key=state.incident.suppress_key,
    )
