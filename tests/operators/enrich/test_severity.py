"""Severity: today's result without context; monotone in every argument; the reason in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.enrich import Enricher, judge
from policy import load_policy
from policy.enrich import EnrichSeverityPolicy, OftenPolicy
from schemas.anomaly import AnomalyDetected, ContextData
from schemas.base import Severity
from tests.support.make import anomaly

SHIPPED = load_policy(None).default
SCORES = SHIPPED.correlate.severity.score_map
FLOORS = {"outage": Severity.HIGH, "nuisance": Severity.MEDIUM}


def judged(policy: EnrichSeverityPolicy, context: ContextData | None = None, **fields: Any) -> tuple[Severity, str]:
    kind = fields.pop("kind", None)
    found = anomaly(1, **fields)
    return judge(found, context or ContextData(), score_map=SCORES, policy=policy, incident_type=kind)


def as_it_was(found: AnomalyDetected) -> tuple[Severity, str]:
    """Severity as it was before there was context."""
    if found.severity_hint is not None:
        return found.severity_hint, f"set by rule {found.rule}" if found.rule else "set by the detector's policy"
    for bound, severity in sorted(SCORES.items(), reverse=True):
        if found.score >= bound:
            return severity, f"score {found.score:.2g} reaches {bound:.2g}"
    return Severity.LOW, f"score {found.score:.2g} reaches no bound"


@given(st.floats(0, 1), st.sampled_from([None, *Severity]), st.sampled_from([None, "cpu_high"]))
def test_without_context_the_shipped_policy_gives_what_the_finding_says(
    score: float, hint: Severity | None, rule: str | None
) -> None:
    found = anomaly(1, score=score, severity_hint=hint, rule=rule)
    enriched = Enricher(SCORES, SHIPPED.enrich.severity).enrich(found, ContextData())
    assert (enriched.severity, enriched.severity_reason) == as_it_was(found)
    assert enriched.error_msg is None


POLICIES = st.builds(
    EnrichSeverityPolicy,
    by_criticality=st.lists(st.integers(-3, 3), min_size=4, max_size=4).map(
        lambda steps: dict(zip(Severity, sorted(steps), strict=True))
    ),
    often=st.builds(OftenPolicy, similar_7d=st.integers(1, 50), steps=st.integers(0, 3)),
    at_least=st.just(FLOORS),
)
HINTS = st.sampled_from([None, *Severity])
KINDS = st.sampled_from([None, "other", "nuisance", "outage"])
KIND_ORDER = [None, "other", "nuisance", "outage"]
CONTEXTS = st.builds(
    ContextData, criticality=st.sampled_from(list(Severity)), similar_7d=st.none() | st.integers(0, 100)
)


@given(POLICIES, CONTEXTS, HINTS, KINDS, st.floats(0, 1), st.floats(0, 1))
def test_it_never_falls_when_the_score_rises(
    policy: EnrichSeverityPolicy, context: ContextData, hint: Severity | None, kind: str, a: float, b: float
) -> None:
    low, high = sorted((a, b))
    first, second = (judged(policy, context, score=s, severity_hint=hint, kind=kind)[0] for s in (low, high))
    assert first.rank <= second.rank


@given(POLICIES, CONTEXTS, KINDS, st.sampled_from(list(Severity)), st.sampled_from(list(Severity)))
def test_it_never_falls_when_the_rules_own_severity_rises(
    policy: EnrichSeverityPolicy, context: ContextData, kind: str, a: Severity, b: Severity
) -> None:
    low, high = sorted((a, b), key=lambda severity: severity.rank)
    first, second = (judged(policy, context, severity_hint=hint, kind=kind)[0] for hint in (low, high))
    assert first.rank <= second.rank


@given(
    POLICIES, CONTEXTS, HINTS, KINDS, st.floats(0, 1), st.sampled_from(list(Severity)), st.sampled_from(list(Severity))
)
def test_it_never_falls_when_the_device_is_more_critical(
    policy: EnrichSeverityPolicy,
    context: ContextData,
    hint: Severity | None,
    kind: str,
    score: float,
    a: Severity,
    b: Severity,
) -> None:
    low, high = sorted((a, b), key=lambda severity: severity.rank)
    first, second = (
        judged(policy, context.model_copy(update={"criticality": c}), score=score, severity_hint=hint, kind=kind)[0]
        for c in (low, high)
    )
    assert first.rank <= second.rank


@given(POLICIES, CONTEXTS, HINTS, KINDS, st.floats(0, 1), st.integers(0, 100), st.integers(0, 100))
def test_it_never_rises_when_more_of_the_same_fired(
    policy: EnrichSeverityPolicy, context: ContextData, hint: Severity | None, kind: str, score: float, a: int, b: int
) -> None:
    few, many = sorted((a, b))
    first, second = (
        judged(policy, context.model_copy(update={"similar_7d": n}), score=score, severity_hint=hint, kind=kind)[0]
        for n in (few, many)
    )
    assert first.rank >= second.rank


@given(POLICIES, CONTEXTS, HINTS, st.floats(0, 1), KINDS, KINDS)
def test_it_never_falls_when_the_incident_types_least_severity_rises(
    policy: EnrichSeverityPolicy,
    context: ContextData,
    hint: Severity | None,
    score: float,
    a: str | None,
    b: str | None,
) -> None:
    low, high = sorted((a, b), key=KIND_ORDER.index)
    first, second = (judged(policy, context, score=score, severity_hint=hint, kind=k)[0] for k in (low, high))
    assert first.rank <= second.rank


RULED, EIGHT, RULE = {"severity_hint": Severity.HIGH}, "score 0.85 reaches 0.8", "set by rule cpu_high"
FULL = EnrichSeverityPolicy(
    by_criticality={Severity.LOW: -1, Severity.CRITICAL: 1},
    often=OftenPolicy(similar_7d=100, steps=1),
    at_least={"comms_outage": Severity.HIGH},
)


@pytest.mark.parametrize(
    ("context", "fields", "severity", "reason"),
    [
        ({"criticality": "critical"}, {"score": 0.85}, "critical", f"{EIGHT}, raised: device of critical criticality"),
        ({"criticality": "low"}, RULED, "medium", f"{RULE}, lowered: device of low criticality"),
        ({"criticality": "medium"}, {"score": 0.85}, "high", EIGHT),
        ({"similar_7d": 240}, {"score": 0.85}, "medium", f"{EIGHT}, lowered: 240 similar in 7 days"),
        ({"similar_7d": 240}, {"severity_hint": Severity.HIGH}, "high", RULE),
        ({}, {"score": 0.1, "kind": "comms_outage"}, "high", "score 0.1 reaches no bound, at least high: comms_outage"),
    ],
)  # fmt: skip
def test_the_reason_says_every_step(
    context: dict[str, Any], fields: dict[str, Any], severity: str, reason: str
) -> None:
    assert judged(FULL, ContextData(**context), **fields) == (severity, reason)


def test_a_policy_under_which_a_more_critical_device_matters_less_is_refused() -> None:
    with pytest.raises(ValidationError, match="a more critical device must not make an anomaly less severe"):
        EnrichSeverityPolicy(by_criticality={Severity.LOW: 1, Severity.HIGH: 0})
