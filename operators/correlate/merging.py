"""merging: two open incidents that turn out to be one situation become one, and nothing is lost."""

from datetime import datetime

from operators.correlate.incident_state import IncidentState
from schemas.base import Severity


def take_over(survivor: IncidentState, other: IncidentState, now: datetime, *, max_evidence: int) -> None:
    """Give the survivor what the other rests on: evidence, scope, impact, counts, what fires, keys and links.

    Evidence beyond max_evidence is only counted. The other keeps its own revisions; it is left to the
    caller to end it with a link to the survivor.
    """
    mine, its = survivor.incident, other.incident
    known = {each.ref for each in mine.evidence}
    fresh = [each for each in its.evidence if each.ref not in known]
    evidence = sorted([*mine.evidence, *fresh], key=lambda each: (each.ts, each.ref))
    survivor.change(
        evidence=tuple(evidence[:max_evidence]),
        evidence_dropped=mine.evidence_dropped + its.evidence_dropped + max(0, len(evidence) - max_evidence),
        scope=(*mine.scope, *(each for each in its.scope if each not in mine.scope))[:max_evidence],
        impact=(*mine.impact, *(each for each in its.impact if each not in mine.impact))[:max_evidence],
        anomaly_count=mine.anomaly_count + its.anomaly_count,
        duplicate_count=mine.duplicate_count + its.duplicate_count,
        severity=_higher(mine.severity, its.severity),
    )
    survivor.firing.update({source: at for source, at in other.firing.items() if source not in survivor.firing})
    survivor.seen.update({name: until for name, until in other.seen.items() if name not in survivor.seen})
    survivor.keys |= other.keys
    survivor.links |= other.links
    survivor.heard_at = max(survivor.heard_at, other.heard_at)
    survivor.acknowledged = survivor.acknowledged or other.acknowledged
    survivor.cleared_at = None if survivor.firing else survivor.cleared_at or now
    if mine.assignee is None and its.assignee is not None:
        survivor.change(assignee=its.assignee)
    other.keys = set()
    other.links = set()


def _higher(first: Severity, second: Severity) -> Severity:
    return max(first, second, key=lambda severity: severity.rank)
