"""One incident while it lives: what it rests on, what still fires, and what it must do when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from operators.correlate.classify import Terms
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


class Mute(NamedTuple):
    """Why people are not told of an incident: by what, and until when (None: while that incident lives)."""

    kind: SuppressionKind
    by: str
    until: datetime | None
    reason: str


@dataclass
class IncidentState:
    """The incident as last changed, and the bookkeeping between its revisions.

    terms: those of its type when it began. firing: source of an anomaly → since when (log time).
    heard_at: the last anomaly's log time. seen: fingerprint → until when it is a duplicate. mutes: why
    people are not told of it; while there is one its status is suppressed. keys, links: the correlation
    keys and bridge values that lead to it. dirty: something changed that no revision has said yet.
    Bounded by policy's caps on evidence and timeline; the rest by the anomalies of one situation.
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
    acknowledged: bool = False
    cleared_at: datetime | None = None
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

    def add_evidence(self, anomaly: AnomalyEnriched, limit: int) -> None:
        """Rest the incident on one more anomaly; beyond the limit it is only counted."""
        incident = self.incident
        if len(incident.evidence) >= limit:
            self.change(evidence_dropped=incident.evidence_dropped + 1)
        else:
            self.change(evidence=(*incident.evidence, evidence_of(anomaly)))
        scope = Scope(device_id=anomaly.device_id, service=anomaly.service)
        if scope not in incident.scope and len(incident.scope) < limit:
            self.change(scope=(*incident.scope, scope))

    def add_impact(self, impact: Impact, limit: int) -> bool:
        """List what suffers from this incident; False when it is listed already, or the list is full."""
        known = self.incident.impact
        place = (impact.device_id, impact.service)
        if len(known) >= limit or any((each.device_id, each.service) == place for each in known):
            return False
        self.change(impact=(*known, impact))
        return True

    def log(self, at: datetime, event: str, by: str, reason: str, limit: int) -> None:
        """Add a timeline entry; beyond the limit the oldest but the first gives way."""
        timeline = (*self.incident.timeline, TimelineEntry(at=at, event=event, by=by, reason=reason))
        if len(timeline) > limit:
            timeline = (timeline[0], *timeline[2:])
        self.change(timeline=timeline)

    def publish(self, event: IncidentEvent, at: datetime, *, first: bool = False) -> IncidentPublished:
        """The next revision."""
        revision = 1 if first else self.incident.revision + 1
        self.incident = self.incident.model_copy(update={"revision": revision, "updated_at": at})
        self.published_at = at
        self.dirty = False
        fields = {name: getattr(self.incident, name) for name in Incident.model_fields}
        return IncidentPublished(**fields, event=event)

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
            "acknowledged": self.acknowledged,
            "published_at": self.published_at,
            "heard_at": self.heard_at,
            "firing": dict(self.firing),
            "seen": dict(self.seen),
            "cleared_at": self.cleared_at,
            "dirty": self.dirty,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """An incident that goes on from a snapshot."""
        return cls(
            incident=Incident.model_validate(state["incident"]),
            terms=Terms(*state["terms"]),
            mutes={name: Mute(*mute) for name, mute in state["mutes"].items()},
            keys=set(state["keys"]),
            links=set(state["links"]),
            acknowledged=state["acknowledged"],
            published_at=state["published_at"],
            heard_at=state["heard_at"],
            firing=dict(state["firing"]),
            seen=dict(state["seen"]),
            cleared_at=state["cleared_at"],
            dirty=state["dirty"],
        )


def evidence_of(anomaly: AnomalyEnriched) -> Evidence:
    """The entry by which an incident rests on an anomaly."""
    return Evidence(
        ref=anomaly.anomaly_id,
        tracking_id=anomaly.tracking_id,
        summary=anomaly.msg,
        weight=anomaly.score,
        ts=anomaly.ts,
    )
