"""The incident that stands for many."""

from collections.abc import Sequence
from datetime import datetime

from operators.correlate.bounds import EVIDENCE_BYTES, fit
from operators.correlate.classify import terms_of
from operators.correlate.incident_state import IncidentState
from policy.correlate import CorrelatePolicy
from schemas.identity import content_uuid
from schemas.incident import Incident

KEY = "storm"


def storm_incident(
    ship_id: str, policy: CorrelatePolicy, members: Sequence[IncidentState], now: datetime
) -> IncidentState:
    """The storm's incident over its first members, in the order they opened: the worst severity, one evidence each."""
    first = members[0].incident
    kind = policy.incident_types[policy.storm.incident_type]
    fingerprint = f"{ship_id}|{KEY}"
    evidence = [each.incident.evidence[0] for each in members if each.incident.evidence]
    incident = Incident(
        tracking_id=first.tracking_id,
        ship_id=ship_id,
        incident_id=content_uuid("incident", ship_id, KEY, first.incident_id, now.isoformat()),
        revision=1,
        incident_type=policy.storm.incident_type,
        severity=max((each.incident.severity for each in members), key=lambda severity: severity.rank),
        status="open",
        domain=first.domain,
        title=f"{kind.title}: {len(members)} incidents and more",
        corr_keys={},
        suppress_key=fingerprint,
        fingerprint=fingerprint,
        scope=(first.scope[0],),
        opened_at=now,
        updated_at=now,
        anomaly_count=0,
        evidence=fit(evidence, policy.max_evidence, EVIDENCE_BYTES),
        timeline=(),
    )
    return IncidentState(incident, terms_of(kind), published_at=now, heard_at=now, since=now, began=now)
