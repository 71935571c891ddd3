"""What others do with the same anomalies: grouping by domain and count, and Alertmanager's grouping."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from operators.correlate.classify import classify
from policy import Policy
from schemas.anomaly import AnomalyDetected, AnomalyEnriched
from schemas.base import Severity
from tests.bench.incident_score import Episode, firing

WINDOW: Final = timedelta(minutes=10)
LEAST: Final = 3
GROUP_WAIT: Final = timedelta(seconds=30)


def by_domain(anomalies: Iterable[AnomalyDetected]) -> list[Episode]:
    """An incident where 3 anomalies of one (ship, domain) lie within 10 minutes; it ends after 10 without any."""
    waiting: dict[str, list[AnomalyDetected]] = {}
    open_now: dict[str, Episode] = {}
    out: list[Episode] = []
    for each in firing(anomalies):
        key, at = each.domain, each.observed_at
        episode = open_now.get(key)
        if episode is not None and at - episode.members[-1].observed_at <= WINDOW:
            episode.members.append(each)
            episode.devices.add(each.device_id)
            continue
        open_now.pop(key, None)
        recent = [*(one for one in waiting.get(key, []) if at - one.observed_at <= WINDOW), each]
        waiting[key] = recent
        if len(recent) >= LEAST:
            waiting[key] = []
            open_now[key] = Episode(at, {one.device_id for one in recent}, recent, told_as=f"{key} incident")
            out.append(open_now[key])
    return out


def alertmanager(anomalies: Sequence[AnomalyDetected], policy: Policy) -> list[Episode]:
    """One notification a group of (incident type, device): 30 s after its first alert, no more until all have cleared.

    Grouping, group_wait and repeat_interval as in Alertmanager; no inhibition, which it leaves to be written by hand.
    """
    groups: dict[tuple[str, str], tuple[Episode, set[str]]] = {}
    of_source: dict[str, set[tuple[str, str]]] = {}
    out: list[Episode] = []
    for each in anomalies:
        if each.state == "cleared":
            for key in of_source.pop(each.source, set()):
                _clear(groups, key, each.source, each.observed_at, out)
            continue
        kind = classify(_as_enriched(each), policy).incident_type
        key = (kind, each.device_id)
        if key not in groups:
            told_as = f"{kind} on {each.device_id}"
            groups[key] = (Episode(each.observed_at + GROUP_WAIT, {each.device_id}, [], kind, told_as), set())
        groups[key][0].members.append(each)
        groups[key][1].add(each.source)
        of_source.setdefault(each.source, set()).add(key)
    return [*out, *(episode for episode, _ in groups.values())]


def _clear(
    groups: dict[tuple[str, str], tuple[Episode, set[str]]],
    key: tuple[str, str],
    source: str,
    at: datetime,
    out: list[Episode],
) -> None:
    if key not in groups:
        return
    episode, sources = groups[key]
    sources.discard(source)
    if not sources:
        del groups[key]
        if at >= episode.opened_at:
            out.append(episode)


def _as_enriched(anomaly: AnomalyDetected) -> AnomalyEnriched:
    return AnomalyEnriched.model_construct(**dict(anomaly), severity=Severity.MEDIUM, severity_reason="")
