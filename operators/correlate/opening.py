"""opening: the incident that anomalies make, before anyone is told."""

from collections.abc import Sequence
from datetime import datetime

from operators.correlate.bounds import FINGERPRINT_BYTES, identity
from operators.correlate.classify import Situation
from operators.correlate.incident_state import IncidentState, title_of
from schemas.anomaly import AnomalyEnriched
from schemas.base import Severity
from schemas.identity import content_uuid
from schemas.incident import Incident, Scope


def new_incident(
    ship_id: str,
    situation: Situation,
    anomalies: Sequence[AnomalyEnriched],
    now: datetime,
    *,
    after: str | None = None,
) -> IncidentState:
    """An incident about to open on these anomalies (pos-first first); after is the id of its key's last one."""
    first = anomalies[0]
    fingerprint = identity(f"{ship_id}|{situation.key}", FINGERPRINT_BYTES)
    scope = (Scope(device_id=first.device_id, service=first.service),)
    incident = Incident(
        tracking_id=first.tracking_id,
        ship_id=ship_id,
        incident_id=content_uuid("incident", ship_id, situation.key, first.anomaly_id),
        revision=1,
        incident_type=situation.incident_type,
        severity=worst(anomalies, situation),
        status="open",
        domain=first.domain,
        title=title_of(situation.terms.title, scope),
        corr_keys=situation.corr_keys,
        suppress_key=fingerprint,
        fingerprint=fingerprint,
        scope=scope,
        opened_at=now,
        updated_at=now,
        anomaly_count=0,
        evidence=(),
        timeline=(),
        successor_of=after,
    )
    return IncidentState(incident, situation.terms, published_at=now, heard_at=now, since=now, began=now)


def worst(anomalies: Sequence[AnomalyEnriched], situation: Situation) -> Severity:
    """The highest severity of the anomalies, or the one that the rule puts in its place."""
    return situation.severity or max((each.severity for each in anomalies), key=lambda severity: severity.rank)
