"""How bad an anomaly is: a pure function of what was found, where, and how ordinary that is."""

from collections.abc import Mapping
from typing import Final

from policy.enrich import EnrichSeverityPolicy
from schemas.anomaly import AnomalyDetected, ContextData
from schemas.base import Severity

_BY_RANK: Final = tuple(Severity)


def judge(
    anomaly: AnomalyDetected,
    context: ContextData,
    *,
    score_map: Mapping[float, Severity],
    policy: EnrichSeverityPolicy,
    incident_type: str | None = None,
) -> tuple[Severity, str]:
    """The severity of an anomaly, and the reason in plain words.

    1. The start: what the rule that found it says (severity_hint); else the highest severity whose
       bound in score_map the score reaches, low below all of them.
    2. Steps by the device's criticality (policy.by_criticality); none where it is not known.
    3. Steps down where at least policy.often.similar_7d similar ones fired in 7 days; not for a
       severity that a rule set, nor where the number is not known.
    4. Never below policy.at_least of its incident type, nor beyond low and critical.

    So it never falls when the hint, the score, the criticality or its incident type's least severity
    rises, and never rises with similar_7d. Without context and without at_least it is step 1 alone.
    """
    start, reason = _start(anomaly, score_map)
    steps, why = 0, []
    moved = policy.by_criticality.get(context.criticality, 0) if context.criticality is not None else 0
    if moved:
        steps += moved
        why.append(f"{'raised' if moved > 0 else 'lowered'}: device of {context.criticality} criticality")
    often, similar = policy.often, context.similar_7d
    if anomaly.severity_hint is None and similar is not None and similar >= often.similar_7d and often.steps:
        steps -= often.steps
        why.append(f"lowered: {similar} similar in 7 days")
    severity = _BY_RANK[max(0, min(len(_BY_RANK) - 1, start.rank + steps))]
    least = policy.at_least.get(incident_type) if incident_type is not None else None
    if least is not None and least.rank > severity.rank:
        severity = least
        why.append(f"at least {least.value}: {incident_type}")
    return severity, ", ".join([reason, *why])


def _start(anomaly: AnomalyDetected, score_map: Mapping[float, Severity]) -> tuple[Severity, str]:
    hint, score = anomaly.severity_hint, anomaly.score
    if hint is not None:
        return hint, "set by the detector's policy" if anomaly.rule is None else f"set by rule {anomaly.rule}"
    reached = [(severity.rank, bound) for bound, severity in score_map.items() if score >= bound]
    if not reached:
        return Severity.LOW, f"score {score:.2g} reaches no bound"
    rank, bound = max(reached)
    return _BY_RANK[rank], f"score {score:.2g} reaches {bound:.2g}"
