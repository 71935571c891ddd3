"""merging: an incident takes over what another rests on, and nothing is lost."""

from datetime import datetime

from operators.correlate.incident_state import IncidentState
from schemas.base import Severity


def take_over(survivor: IncidentState, other: IncidentState, now: datetime, *, max_evidence: int) -> None:
    """Give the survivor of a merge the other's evidence, scope, impact, counts, what fires, keys and links.

    Evidence beyond max_evidence is only counted. The other keeps its own revisions; it is left to the
    caller to end it with a link to the survivor.
    """
    mine, its = survivor.incident, other.incident
    known = {each.ref for each in mine.evidence}
    fresh = [each for each in its.evidence if each.ref not in known]
    evidence = sorted([*mine.evidence, *fresh], key=lambda each: (each.ts, each.ref))
    survivor.scope_cut = survivor.scope_cut or other.scope_cut
    survivor.touch((*mine.scope, *(each for each in its.scope if each not in mine.scope)), max_evidence)
    survivor.concern(other.about, max_evidence)
    survivor.change(
        evidence_dropped=mine.evidence_dropped + its.evidence_dropped,
        anomaly_count=mine.anomaly_count + its.anomaly_count,
        duplicate_count=mine.duplicate_count + its.duplicate_count,
        severity=_higher(mine.severity, its.severity),
        assignee=mine.assignee or its.assignee,
    )
    survivor.list_evidence(evidence, max_evidence)
    survivor.list_impact((*mine.impact, *(each for each in its.impact if each not in mine.impact)), max_evidence)
    survivor.seen.update({name: until for name, until in other.seen.items() if name not in survivor.seen})
    survivor.heard_at = max(survivor.heard_at, other.heard_at)
    survivor.began = min(survivor.began, other.began)
    survivor.acknowledged = survivor.acknowledged or other.acknowledged
    _take_what_leads(survivor, other)
    survivor.cleared_at = None if survivor.firing else survivor.cleared_at or now


def go_on(new: IncidentState, old: IncidentState, *, max_evidence: int) -> None:
    """Give the successor of an incident closed by age what still fires, suffers and leads to it.

    A person who has taken on the old one has the new one too; that it is acknowledged does not last.
    """
    mine, its = new.incident, old.incident
    new.scope_cut = new.scope_cut or old.scope_cut
    new.touch((*mine.scope, *(each for each in its.scope if each not in mine.scope)), max_evidence)
    new.began = min(new.began, old.began)
    new.concern(old.about, max_evidence)
    severity = _higher(mine.severity, its.severity) if old.firing else mine.severity
    new.change(severity=severity, impact=its.impact, assignee=its.assignee)
    new.mutes.update({name: mute for name, mute in old.mutes.items() if mute.kind == "inhibited"})
    _take_what_leads(new, old)


def _take_what_leads(mine: IncidentState, other: IncidentState) -> None:
    mine.firing.update({source: at for source, at in other.firing.items() if source not in mine.firing})
    mine.keys |= other.keys
    mine.links |= other.links
    other.keys, other.links = set(), set()


def _higher(first: Severity, second: Severity) -> Severity:
    return max(first, second, key=lambda severity: severity.rank)
