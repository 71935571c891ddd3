"""The silences of all ships: what series say of themselves becomes anomalies of series, devices and ships."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from operators.detect.anomalies import anomaly_id
from operators.detect.finding import clock_time, number
from operators.detect.silence import Place, Silence, SilenceFinding
from policy import PolicySet
from schemas.anomaly import AnomalyDetected
from schemas.base import Domain, Pos, Severity
from schemas.event import Event
from schemas.ops import OpsTick

Change = Literal["watched", "silent", "heard", "forgotten"]
SNAPSHOT_VERSION = 1
ALL = "*"
"""Stands for every device of a ship, every service of a device."""

MAX_NAMED = 3
MAX_EVIDENCE = 100


class Quiet(NamedTuple):
    """What an anomaly says of a series: whose it is, its last sample, and what its Stale says."""

    device_id: str
    domain: Domain
    service: str
    metric_name: str
    tracking_id: str
    since: float
    score: float
    msg: str


class SilenceNote(NamedTuple):
    """What a slot tells the board of one series; it never leaves detect.

    watched: its rhythm is known, so its silence would be told; silent: it is overdue; heard: it is
    back; forgotten: it is watched no longer.
    """

    pos: Pos
    at: datetime
    kind: Change
    ship_id: str
    series: str
    quiet: Quiet


class _Ship:
    """silence groups; quiet holds its silent series by name, told what its open findings were published as."""

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.quiet: dict[str, Quiet] = {}
        self.told: dict[Place, Quiet] = {}


class SilenceBoard:
    """Groups what falls silent, ship by ship, and says it as anomalies; everything else passes through.

    One finding at the widest scope that is silent: a series, a device ("<ship>/<device>", service
    "*"), or a ship ("<ship>", device and service "*"; domain: that of most of its silent series).
    After the first silence it gathers for settle_s and one round of the slots, in which each slot has
    looked at its series. So a silence is told at most two rounds and settle_s after its deadline;
    what is heard before that is never told. State: that of Silence a ship, and about 300 bytes a
    silent series.
    """

    def __init__(self, policy: PolicySet, *, round_s: float = 1.0) -> None:
        self._policy = policy
        self._round_s = round_s
        self._ships: dict[str, _Ship] = {}

    def process(self, item: Event | SilenceNote) -> Iterator[Event]:
        """Take one item; items must come in order, notes before the tick of their place."""
        if isinstance(item, SilenceNote):
            yield from self._take(item)
            return
        if isinstance(item.body, OpsTick):
            at = item.at.timestamp()
            for ship_id, ship in sorted(self._ships.items()):
                for finding in ship.silence.due(at):
                    yield self._told(item.pos, item.at, ship_id, finding, None)
        yield item

    def _take(self, note: SilenceNote) -> Iterator[Event]:
        ship = self._ship(note.ship_id)
        silence, device, at = ship.silence, note.quiet.device_id, note.at.timestamp()
        ends: list[SilenceFinding] = []
        if note.kind == "watched":
            silence.watch(device)
        elif note.kind == "silent":
            ship.quiet[note.series] = note.quiet
            silence.silent(device, note.series, at, note.quiet.since)
        else:
            end = silence.heard if note.kind == "heard" else silence.forget
            ends = end(device, note.series, at)
            ship.quiet.pop(note.series, None)
        for finding in ends:
            yield self._told(note.pos, note.at, note.ship_id, finding, note.quiet)
        if silence.is_empty:
            del self._ships[note.ship_id]

    def _ship(self, ship_id: str) -> _Ship:
        ship = self._ships.get(ship_id)
        if ship is None:
            rule = self._policy.for_ship(ship_id).detect.silence
            silence = Silence(
                settle_s=rule.settle_s + self._round_s, quorum=rule.device_quorum, ship_quorum=rule.ship_quorum
            )
            ship = self._ships[ship_id] = _Ship(silence)
        return ship

    def _told(self, pos: Pos, at: datetime, ship_id: str, finding: SilenceFinding, cause: Quiet | None) -> Event:
        ship = self._ships[ship_id]
        place: Place = (finding.scope, finding.device, finding.series)
        if finding.state == "firing":
            silent = self._silent(ship, finding)
            said = ship.told[place] = _summary(finding, silent)
            evidence = tuple(quiet.tracking_id for quiet in silent.values())[:MAX_EVIDENCE]
        else:
            said = ship.told.pop(place)
            why = f"{finding.msg}, after {number(at.timestamp() - said.since)} s (since {clock_time(said.since)})"
            said = said._replace(score=0.0, msg=why, tracking_id=cause.tracking_id if cause else said.tracking_id)
            evidence = (said.tracking_id,)
        rule = self._policy.for_ship(ship_id).detect.silence
        severity = {"series": rule.severity, "device": rule.device_severity, "ship": rule.ship_severity}[finding.scope]
        return Event(pos, at, _anomaly(pos, at, ship_id, finding, said, evidence, severity))

    @staticmethod
    def _silent(ship: _Ship, finding: SilenceFinding) -> dict[str, Quiet]:
        if finding.scope == "series":
            return {finding.series: ship.quiet[finding.series]}
        return {
            name: quiet
            for name, quiet in sorted(ship.quiet.items())
            if finding.scope == "ship" or quiet.device_id == finding.device
        }

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        ships = {
            ship_id: {
                "silence": ship.silence.snapshot(),
                "quiet": {name: tuple(quiet) for name, quiet in ship.quiet.items()},
                "told": {place: tuple(quiet) for place, quiet in ship.told.items()},
            }
            for ship_id, ship in self._ships.items()
        }
        return {"v": SNAPSHOT_VERSION, "ships": ships}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot.

        Raises:
            ValueError: for a snapshot of another version.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"silence: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        for ship_id, saved in state["ships"].items():
            ship = self._ship(ship_id)
            ship.silence.restore(saved["silence"])
            ship.quiet = {name: Quiet(*quiet) for name, quiet in saved["quiet"].items()}
            ship.told = {place: Quiet(*quiet) for place, quiet in saved["told"].items()}


def _summary(finding: SilenceFinding, silent: dict[str, Quiet]) -> Quiet:
    """What is said of all that a finding speaks for, in the words of the series that spoke last."""
    last = max(silent.values(), key=lambda quiet: quiet.since)
    if finding.scope == "series":
        return last._replace(msg=f"{last.metric_name} of {last.device_id}/{last.service}: {last.msg}")
    domains = [quiet.domain for quiet in silent.values()]
    names = [f"{quiet.device_id}/{quiet.metric_name}" for quiet in silent.values()]
    if finding.scope == "device":
        names = [quiet.metric_name for quiet in silent.values()]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return Quiet(
        device_id=finding.device or ALL,
        domain=max(sorted(set(domains)), key=domains.count),
        service=ALL,
        metric_name="",
        tracking_id=last.tracking_id,
        since=finding.since,
        score=max(quiet.score for quiet in silent.values()),
        msg=f"{finding.msg} ({', '.join(names[:MAX_NAMED])}{more}); the last one, {last.metric_name}: {last.msg}",
    )


def _anomaly(
    pos: Pos,
    at: datetime,
    ship_id: str,
    finding: SilenceFinding,
    said: Quiet,
    evidence: tuple[str, ...],
    severity: Severity | None,
) -> AnomalyDetected:
    series = finding.series or "/".join(part for part in (ship_id, finding.device) if part)
    return AnomalyDetected(
        tracking_id=said.tracking_id,
        ship_id=ship_id,
        anomaly_id=anomaly_id(pos, series, "stale", None, finding.state, said.tracking_id),
        pos=pos,
        ts=at,
        observed_at=at,
        state=finding.state,
        anomaly_type="stale",
        detector="stale",
        domain=said.domain,
        service=said.service,
        device_id=said.device_id,
        series=series,
        metric_name=said.metric_name or None,
        severity_hint=severity,
        score=said.score,
        count=max(finding.silent, 1),
        since=datetime.fromtimestamp(said.since, UTC),
        evidence_ids=evidence,
        msg=said.msg,
    )
