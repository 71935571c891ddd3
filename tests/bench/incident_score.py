"""Incidents against the truth: which fault each is about, what is missing, false, merged, split or hidden.

An episode is one time that people are told of an incident: from the revision that shows it (opened, opened again,
surfaced) to the one that ends or hides it. It is about the fault that most of its anomalies come from; an anomaly
comes from the fault that its device suffers just then. It hits that fault when it is the first about it and
names its device; any further one is a split, one about no fault is false.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from compose.demo.faults import Fault
from schemas.anomaly import AnomalyDetected
from schemas.incident import IncidentPublished

SLACK: Final = timedelta(seconds=120)
"""What recovers is out of the ordinary as well, for so long."""

FaultOf = Callable[[AnomalyDetected], Fault | None]


@dataclass
class Episode:
    """What people were told of once. named: the type it has, where it has one."""

    opened_at: datetime
    devices: set[str]
    members: list[AnomalyDetected]
    named: str | None = None
    told_as: str = ""


class Hidden(NamedTuple):
    """An incident that was held back as a symptom: its anomalies, and the cause that is told instead (if one is)."""

    title: str
    members: list[AnomalyDetected]
    cause: Episode | None


@dataclass
class Score:
    """What came of one run; hits by fault, the rest in words."""

    faults: list[Fault]
    hits: dict[int, Episode] = field(default_factory=dict)
    episodes: int = 0
    false: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    misattributed: list[str] = field(default_factory=list)
    attributed: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Episodes that are the first word about a fault, of all."""
        return len(self.hits) / self.episodes if self.episodes else 1.0

    @property
    def recall(self) -> float:
        """Faults of which people were told, of all."""
        return len(self.hits) / len(self.faults) if self.faults else 1.0

    @property
    def missed(self) -> list[Fault]:
        """Faults of which nobody was told."""
        return [fault for place, fault in enumerate(self.faults) if place not in self.hits]

    @property
    def in_time(self) -> int:
        """Hits that came within the fault's opens_within."""
        return sum(
            each.opened_at <= self.faults[n].start + self.faults[n].opens_within for n, each in self.hits.items()
        )


def fault_of(faults: Sequence[Fault]) -> FaultOf:
    """Says which fault an anomaly comes from: the latest that its device suffers, or has just suffered."""

    def find(anomaly: AnomalyDetected) -> Fault | None:
        device = anomaly.device_id
        over = [
            fault
            for fault in faults
            if (fault.device_id == device or device in fault.affects)
            and fault.start <= anomaly.ts <= fault.end + fault.lingers + SLACK
        ]
        return max(over, key=lambda fault: fault.start, default=None)

    return find


def overlapping(faults: Sequence[Fault]) -> int:
    """How many faults share some of their time with another."""
    return sum(
        any(one.start < other.end and other.start < one.end for other in faults if other is not one) for one in faults
    )


def score(faults: Sequence[Fault], episodes: Iterable[Episode], hidden: Iterable[Hidden] = ()) -> Score:
    """Judge the episodes of one run."""
    result, find = Score(list(faults)), fault_of(faults)
    for episode in sorted(episodes, key=lambda each: each.opened_at):
        result.episodes += 1
        _judge(result, episode, find)
    for each in hidden:
        fault, about = _about(each.members, find), _about(each.cause.members, find) if each.cause else None
        if fault is not None and fault is about:
            result.attributed += 1
        else:
            result.misattributed.append(f"{each.title}: {_name(fault)} told as {_name(about)}")
    return result


def _judge(result: Score, episode: Episode, find: FaultOf) -> None:
    fault = _about(episode.members, find)
    told = f"{episode.opened_at:%H:%M:%S} {episode.told_as}"
    causes = Counter(id(found) for each in episode.members if (found := find(each)) is not None)
    if len(causes) > 1:
        result.merges.append(f"{told}: {len(causes)} faults")
    if fault is None:
        result.false.append(told)
        return
    place = next(n for n, each in enumerate(result.faults) if each is fault)
    fits = fault.device_id in episode.devices and episode.named in (None, fault.incident_type)
    if place in result.hits or not fits:
        result.splits.append(f"{told}: also {_name(fault)}")
        return
    result.hits[place] = episode
    first = min(each.observed_at for each in episode.members if find(each) is fault)
    result.delays.append((episode.opened_at - first).total_seconds())


def _about(members: Sequence[AnomalyDetected], find: FaultOf) -> Fault | None:
    found = [fault for each in members if (fault := find(each)) is not None]
    if 2 * len(found) < len(members) or not found:
        return None
    most = Counter(id(fault) for fault in found).most_common(1)[0][0]
    return next(fault for fault in found if id(fault) == most)


def _name(fault: Fault | None) -> str:
    return "no fault" if fault is None else f"{fault.kind} on {fault.device_id} at {fault.start:%H:%M:%S}"


def told(
    revisions: Sequence[IncidentPublished], anomalies: Sequence[AnomalyDetected]
) -> tuple[list[Episode], list[Hidden]]:
    """The episodes that revisions make, and what was held back as a symptom meanwhile.

    Evidence is each incident's own since it opened (policy's cap must be high enough to hold it).
    """
    by_id = {each.anomaly_id: each for each in anomalies}
    episodes: list[Episode] = []
    held: list[tuple[IncidentPublished, Episode]] = []
    current: dict[str, Episode] = {}
    counted: dict[str, set[str]] = {}
    for revision in revisions:
        name = revision.incident_id
        known = counted.setdefault(name, set())
        visible = revision.status in ("open", "ack")
        if name not in current and revision.status != "resolved":
            current[name] = Episode(revision.updated_at, set(), [], revision.incident_type, revision.title)
            if visible:
                episodes.append(current[name])
            else:
                held.append((revision, current[name]))
        elif name in current and visible and current[name] not in episodes:
            current[name].opened_at = revision.updated_at
            episodes.append(current[name])
        elif name in current and revision.event == "suppressed" and revision.inhibited_by is not None:
            held.append((revision, current[name]))
        episode = current.get(name)
        if episode is not None:
            fresh = [each for each in revision.evidence if each.ref not in known and each.ref in by_id]
            known.update(each.ref for each in fresh)
            episode.members += [by_id[each.ref] for each in fresh]
            episode.devices |= {by_id[each.ref].device_id for each in fresh}
        if revision.status == "resolved":
            current.pop(name, None)
    return episodes, [_hidden(first, episode, revisions, episodes) for first, episode in held if episode.members]


def _hidden(
    first: IncidentPublished, symptom: Episode, revisions: Sequence[IncidentPublished], episodes: Sequence[Episode]
) -> Hidden:
    """Follows inhibited_by up to what is told."""
    at, seen = first, {first.incident_id}
    while at.inhibited_by is not None and at.inhibited_by not in seen:
        seen.add(at.inhibited_by)
        above = _as_of(revisions, at.inhibited_by, first.updated_at)
        if above is None:
            break
        at = above
    title = at.title
    told_then = [each for each in episodes if each.told_as == title and each.opened_at <= first.updated_at]
    cause = told_then[-1] if at is not first and at.status in ("open", "ack") and told_then else None
    return Hidden(f"{first.updated_at:%H:%M:%S} {first.title}", symptom.members, cause)


def _as_of(revisions: Sequence[IncidentPublished], incident_id: str, when: datetime) -> IncidentPublished | None:
    found = [each for each in revisions if each.incident_id == incident_id and each.updated_at <= when]
    return found[-1] if found else None


def firing(anomalies: Iterable[AnomalyDetected]) -> Iterator[AnomalyDetected]:
    """What fires, in the order of arrival."""
    return (each for each in anomalies if each.state == "firing")
