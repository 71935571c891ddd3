"""enrich: context and severity for anomalies; everything else passes untouched, in order."""

from collections.abc import Iterable
from functools import lru_cache

import bytewax.operators as op
from bytewax.dataflow import Stream, operator

from policy import PolicySet
from schemas.anomaly import AnomalyDetected, AnomalyEnriched, ContextData
from schemas.base import Severity
from schemas.event import Event


class Enricher:
    """Gives an anomaly its severity: the rule's own, else the highest that its score reaches.

    Keeps no state.

    >>> Enricher({0.5: Severity.LOW, 0.9: Severity.HIGH}).severity(None, 0.95)
    (<Severity.HIGH: 'high'>, 'score 0.95 reaches 0.9')
    """

    def __init__(self, score_map: dict[float, Severity]) -> None:
        self._score_map = sorted(score_map.items(), reverse=True)

    def enrich(self, anomaly: AnomalyDetected, context: ContextData) -> AnomalyEnriched:
        """The anomaly with its context, severity and the reason for it."""
        severity, reason = self.severity(anomaly.severity_hint, anomaly.score)
        if anomaly.severity_hint is not None and anomaly.rule is not None:
            reason = f"set by rule {anomaly.rule}"
        known = {name: getattr(anomaly, name) for name in AnomalyDetected.model_fields}
        return AnomalyEnriched(**known, severity=severity, severity_reason=reason, context=context)

    def severity(self, hint: Severity | None, score: float) -> tuple[Severity, str]:
        """The severity and why."""
        if hint is not None:
            return hint, "set by the detector's policy"
        for bound, severity in self._score_map:
            if score >= bound:
                return severity, f"score {score:.2g} reaches {bound:.2g}"
        return Severity.LOW, f"score {score:.2g} reaches no bound"


@operator
def enrich(step_id: str, up: Stream[Event], *, policy: PolicySet) -> Stream[Event]:
    """Turn each AnomalyDetected into an AnomalyEnriched, in place. Stateless."""
    enricher = lru_cache(maxsize=1000)(lambda ship_id: Enricher(policy.for_ship(ship_id).correlate.severity.score_map))

    def pass_on(batch: list[Event]) -> Iterable[Event]:
        for event in batch:
            body = event.body
            if not isinstance(body, AnomalyDetected):
                yield event
                continue
            yield event._replace(body=enricher(body.ship_id).enrich(body, ContextData()))

    return op.flat_map_batch("pass_on", up, pass_on)
