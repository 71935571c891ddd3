"""One incident while it lives: what it rests on, what still fires, and what it must do when."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from operators.correlate.bounds import (
    COMMENT_BYTES,
    EVIDENCE_BYTES,
    IMPACT_BYTES,
    SCOPE_BYTES,
    SUMMARY_BYTES,
    TIMELINE_BYTES,
    cut,
    fit,
    short,
    weight_of,
)
from operators.correlate.classify import Terms
from operators.correlate.matchers import Scope as About
from schemas.anomaly import AnomalyEnriched
from schemas.incident import (
    Evidence,
    Impact,
    Incident,
    IncidentEvent,
    IncidentPublished,
    Scope,
    SuppressionKind,
    TimelineEntry,
)

MAX_LEADS = 1000


class Mute(NamedTuple):
    """Why people are not told of an incident: by what, and until when (None: while that incident lives)."""

    kind: SuppressionKind
    by: str
    until: datetime | None
    reason: str


@dataclass
class IncidentState:
    """The incident as last changed, and the bookkeeping between its revisions.

    terms: those of its type when it began. since: when it opened, or opened again. began: when, in event
    time, what it opened on had begun. reopened: how often its key opened it again. firing: source of an
    anomaly that has not cleared → when it was last found; one that a person resolved keeps it. heard_at: the
    last anomaly. seen: fingerprint → until when it is a duplicate. mutes: why people are not told of it;
    while there is one its status is suppressed. keys, links: the correlation keys and bridge values that
    lead to it, at most 1000 each but for merges. about: its scope with metrics and rules, in the order they
    came. scope_cut: it touches more than its scope lists. weighed: evidence and its weight. dirty: something
    changed that no revision has said yet. Times are log time but for began. Bounded by policy's caps on
    evidence and timeline, and in bytes (see bounds); firing by the series of one situation.
    """

    incident: Incident
    terms: Terms
    published_at: datetime
    heard_at: datetime
    firing: dict[str, datetime] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    mutes: dict[str, Mute] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    about: dict[About, None] = field(default_factory=dict)
    since: datetime = field(kw_only=True)
    began: datetime = field(kw_only=True)
    reopened: int = 0
    acknowledged: bool = False
    cleared_at: datetime | None = None
    scope_cut: bool = False
    weighed: tuple[tuple[Evidence, ...], int] = field(default=((), 0), compare=False, repr=False)
    dirty: bool = False

    @property
    def id(self) -> str:
        """The incident's id."""
        return self.incident.incident_id

    @property
    def active(self) -> bool:
        """Open, acknowledged or suppressed: it takes anomalies."""
        return self.incident.status != "resolved"

    @property
    def visible(self) -> bool:
        """People are told of it."""
        return self.incident.status in ("open", "ack")

    @property
    def devices(self) -> set[str]:
        """The devices it touches."""
        return {each.device_id for each in self.incident.scope}

    def change(self, **values: Any) -> None:
        """Change the incident's fields; the next revision will say so."""
        self.incident = self.incident.model_copy(update=values)
        self.dirty = True

    def begin(self, anomalies: Iterable[AnomalyEnriched], now: datetime) -> None:
        """It opens, or opens again, on these; a new one may go on with what had begun before."""
        before = [self.began] if self.incident.revision == 1 else []
        self.since = now
        # of log lines since is the first one's arrival
        self.began = min([now, *before, *(min(each.ts, each.since or each.ts) for each in anomalies)])

    def concern(self, about: Iterable[About], limit: int) -> None:
        """Note what the incident is about, with metric and rule; as much as the limit means that not all was noted."""
        for each in about:
            if len(self.about) < limit:
                self.about[each] = None

    def add_evidence(self, anomaly: AnomalyEnriched, limit: int) -> None:
        """Rest the incident on one more anomaly; beyond the limit it is only counted."""
        incident = self.incident
        if len(incident.evidence) >= limit:
            self.change(evidence_dropped=incident.evidence_dropped + 1)
        else:
            self._add(evidence_of(anomaly))
        scope = Scope(device_id=anomaly.device_id, service=anomaly.service)
        if not self.scope_cut and scope not in incident.scope:
            self.touch((*incident.scope, scope), limit)

    def _add(self, evidence: Evidence) -> None:
        """List one more where it fits; what is listed already is not weighed again each time."""
        listed = self.incident.evidence
        known, heavy = self.weighed
        if known is not listed:
            heavy = sum(map(weight_of, listed))
        heavy += weight_of(evidence)
        if heavy > EVIDENCE_BYTES:
            self.change(evidence_dropped=self.incident.evidence_dropped + 1)
        else:
            self.change(evidence=(*listed, evidence))
            self.weighed = self.incident.evidence, heavy

    def list_evidence(self, evidence: Sequence[Evidence], limit: int) -> None:
        """Rest the incident on these; what does not fit is only counted."""
        listed = fit(evidence, limit, EVIDENCE_BYTES)
        dropped = len(evidence) - len(listed)
        self.change(evidence=listed, evidence_dropped=self.incident.evidence_dropped + dropped)

    def touch(self, scope: Sequence[Scope], limit: int) -> None:
        """Let the incident touch these places, as many as fit; its title says so."""
        listed = fit(scope, limit, SCOPE_BYTES)
        self.scope_cut = self.scope_cut or len(listed) < len(scope)
        title = title_of(self.terms.title, listed, more=self.scope_cut)
        if (listed, title) != (self.incident.scope, self.incident.title):
            self.change(scope=listed, title=title)

    def lead_here(self, key: str, links: Iterable[str]) -> int:
        """Let a correlation key and links lead to this incident; how many did not fit (1000 each)."""
        dropped = 0
        for known, given in ((self.keys, (key,)), (self.links, links)):
            for name in given:
                if name not in known and len(known) >= MAX_LEADS:
                    dropped += 1
                else:
                    known.add(name)
        return dropped

    def add_impact(self, impact: Impact, limit: int) -> bool:
        """List what suffers from this incident; False when it is listed already, or the list is full."""
        known = self.incident.impact
        place = (impact.device_id, impact.service)
        if len(known) >= limit or any((each.device_id, each.service) == place for each in known):
            return False
        return self.list_impact((*known, impact), limit)

    def list_impact(self, impact: Sequence[Impact], limit: int) -> bool:
        """List these as what suffers from this incident, as many as fit; whether all do."""
        listed = fit(impact, limit, IMPACT_BYTES)
        if listed != self.incident.impact:
            self.change(impact=listed)
        return len(listed) == len(impact)

    def log(self, at: datetime, event: str, by: str, reason: str, limit: int) -> None:
        """Add a timeline entry; beyond the limit the oldest but the first give way."""
        entry = TimelineEntry(at=at, event=event, by=by, reason=cut(reason, COMMENT_BYTES))
        first, *later = *self.incident.timeline, entry
        newest_first = fit((first, *reversed(later)), limit, TIMELINE_BYTES)
        self.change(timeline=(first, *reversed(newest_first[1:])))

    def publish(self, event: IncidentEvent, at: datetime, *, first: bool = False) -> IncidentPublished:
        """The next revision."""
        revision = 1 if first else self.incident.revision + 1
        self.incident = self.incident.model_copy(update={"revision": revision, "updated_at": at})
        self.published_at = at
        self.dirty = False
        fields = {name: getattr(self.incident, name) for name in Incident.model_fields}
        return IncidentPublished(**fields, event=event)

    def rewind(self, at: datetime, *, dedup: timedelta, surface: timedelta) -> None:
        """The clock was set back to `at`: what was counted from a later time counts from there.

        What names a time of its own (a silence's end) keeps it, and so does what was told.
        """
        self.published_at = min(self.published_at, at)
        self.heard_at = min(self.heard_at, at)
        self.since = min(self.since, at)
        self.cleared_at = None if self.cleared_at is None else min(self.cleared_at, at)
        self.firing = {source: min(found, at) for source, found in self.firing.items()}
        self.seen = {name: min(until, at + dedup) for name, until in self.seen.items()}
        for name, mute in self.mutes.items():
            if mute.kind == "inhibited" and mute.until is not None:
                self.mutes[name] = mute._replace(until=min(mute.until, at + surface))

    def next_deadline(self, *, hold: timedelta, throttle: timedelta, forget: timedelta, reopen: timedelta) -> datetime:
        """When something is due: an update, the end of the hold, or being forgotten."""
        incident = self.incident
        if not self.active:
            return (incident.resolved_at or incident.updated_at) + reopen
        due = [self.heard_at + forget]
        if self.dirty:
            due.append(self.published_at + throttle)
        if self.cleared_at is not None:
            due.append(self.cleared_at + hold)
        due += [mute.until for mute in self.mutes.values() if mute.until is not None]
        return min(due)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "incident": self.incident.model_dump(mode="json"),
            "terms": tuple(self.terms),
            "mutes": {name: tuple(mute) for name, mute in self.mutes.items()},
            "keys": sorted(self.keys),
            "links": sorted(self.links),
            "about": [tuple(each) for each in self.about],
            "since": self.since,
            "began": self.began,
            "reopened": self.reopened,
            "acknowledged": self.acknowledged,
            "published_at": self.published_at,
            "heard_at": self.heard_at,
            "firing": dict(self.firing),
            "seen": dict(self.seen),
            "cleared_at": self.cleared_at,
            "scope_cut": self.scope_cut,
            "dirty": self.dirty,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """An incident that goes on from a snapshot."""
        incident = _bounded(Incident.model_validate(state["incident"]))
        about = state.get("about", [(each.device_id, each.service) for each in incident.scope])  # not all have it
        return cls(
            incident=incident,
            terms=Terms(*state["terms"]),
            mutes={name: Mute(*mute) for name, mute in state["mutes"].items()},
            keys=set(state["keys"]),
            links=set(state["links"]),
            about={About(*each): None for each in about},
            since=state["since"],
            began=state.get("began", state["since"]),  # not all have it
            reopened=state["reopened"],
            acknowledged=state["acknowledged"],
            published_at=state["published_at"],
            heard_at=state["heard_at"],
            firing=dict(state["firing"]),
            seen=dict(state["seen"]),
            cleared_at=state["cleared_at"],
            scope_cut=state.get("scope_cut", False),  # not all have it
            dirty=state["dirty"],
        )


def evidence_of(anomaly: AnomalyEnriched) -> Evidence:
    """The entry by which an incident rests on an anomaly."""
    return Evidence(
        ref=anomaly.anomaly_id,
        tracking_id=anomaly.tracking_id,
        summary=cut(anomaly.msg, SUMMARY_BYTES),
        weight=anomaly.score,
        ts=anomaly.ts,
    )


def _bounded(incident: Incident) -> Incident:
    """The incident without what does not fit; a snapshot may come from before there were bounds."""
    bounds = {"scope": SCOPE_BYTES, "evidence": EVIDENCE_BYTES, "impact": IMPACT_BYTES, "timeline": TIMELINE_BYTES}
    parts = {name: getattr(incident, name) for name in bounds}
    return incident.model_copy(update={name: fit(each, len(each), bounds[name]) for name, each in parts.items()})


def title_of(title: str, scope: Sequence[Scope], *, more: bool = False) -> str:
    """What people call an incident of this kind that touches these places; more: and others that are not listed.

    >>> places = [Scope(device_id=name, service="sshd") for name in ("fw-1", "srv-1", "srv-2")]
    >>> for n in (1, 2, 3):
    ...     print(title_of("Attack", tuple(places[:n])))
    Attack on fw-1
    Attack on fw-1 and srv-1
    Attack on fw-1 and 2 more devices
    >>> print(title_of("Attack", places, more=True))
    Attack on fw-1 and 2 or more other devices
    """
    first, *others = dict.fromkeys(short(each.device_id) for each in scope)
    if more and others:
        return f"{title} on {first} and {len(others)} or more other devices"
    if not others:
        return f"{title} on {first}"
    return f"{title} on {first} and {others[0] if len(others) == 1 else f'{len(others)} more devices'}"
