"""Why people did, or did not, hear about something: from rows of the archive to plain sentences."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from api import evidence
from api import why_entries as entry
from api.context import ApiContext, Row
from api.queries import evidence as evidence_query
from api.queries import incidents as incident_query
from api.queries import why as query
from api.why_models import Why, WhyEntry

Json = dict[str, Any]

MAX_INCIDENTS: Final = 5
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


def explain(context: ApiContext, any_id: str) -> Why | None:
    """Why people did or did not hear about what has this id; None when nothing is known of it.

    any_id: of an incident, an anomaly, an event (tracking_id), a silence, a maintenance window's name,
    or a command. Reads the archive only.
    """
    reader = context.reader
    body = incident_query.latest(reader, [any_id]).get(any_id)
    if body is not None:
        return _of_incident(context, json.loads(body))
    found = evidence.anomalies(evidence_query.anomalies(reader, [any_id])).get(any_id)
    if found is not None:
        return _of_anomaly(context, found)
    return _of_event(context, any_id) or _of_silence(context, any_id)


def _of_incident(context: ApiContext, incident: Json) -> Why:
    reader = context.reader
    incident_id, ship_id, now = str(incident["incident_id"]), str(incident["ship_id"]), context.clock()
    told = query.told(reader, [incident_id])
    rows, left_out = query.held(reader, incidents=[incident_id])
    known = {row["reason"] for row in rows}
    timeline = (each for each in incident["timeline"] if each["event"] != "suppressed" or each["reason"] not in known)
    entries = [entry.of_timeline(each) for each in timeline]
    entries += [entry.of_held(row, now, incident_id) for row in rows]
    entries += [entry.of_command(row) for row in query.audit(reader, incident_id) if row["outcome"] != "applied"]
    causes = {row["held_by"] for row in rows}
    entries += [link for link in entry.of_links(incident) if link.by not in causes]
    entries += [entry.of_related(row, incident_id) for row in query.related(reader, ship_id, incident_id)]
    answer, action = _incident_answer(incident, told.get(incident_id), _ruling(rows, now))
    return _why(incident_id, "incident", ship_id, incident_id in told, answer, action, entries, left_out)


def _incident_answer(incident: Json, told: Row | None, ruling: Row | None) -> tuple[str, str | None]:
    """The answer about an incident, and what to do."""
    incident_id, title, status = incident["incident_id"], incident["title"], incident["status"]
    if status == "suppressed" or told is None:
        above = incident.get("inhibited_by") or (ruling["held_by"] if ruling else None)
        because = f": {ruling['reason']}" if ruling else ""
        begun = "You were told, but it is held back now" if told else "You were not told"
        silence = ruling["held_by"] if ruling and ruling["kind"] == "silence" else None
        action = f"watchkeeper unsilence {silence}" if silence and status == "suppressed" else None
        if action is None and above is not None and not (ruling and ruling["kind"] == "maintenance"):
            action = f"watchkeeper why {above}"
        return f"{begun}: {title} is {status}{because}", action
    since = f"You were told at {entry.clock_text(told['told_at'])}: {title}"
    if incident.get("merged_into"):
        return f"{since}. It goes on in another incident", f"watchkeeper why {incident['merged_into']}"
    if status == "open":
        return f"{since} is open ({incident['severity']})", f"watchkeeper ack {incident_id}"
    if status == "ack":
        return f"{since} is acknowledged", f'watchkeeper resolve {incident_id} --reason "…"'
    return f"{since}; it was resolved at {entry.clock_text(incident['resolved_at'])}", None


def _of_anomaly(context: ApiContext, anomaly: Json) -> Why:
    anomaly_id = str(anomaly["anomaly_id"])
    on = _incidents_on(context, str(anomaly["tracking_id"]), [anomaly_id], any_of_event=False)
    rows, left_out = query.held(context.reader, anomalies=[anomaly_id])
    entries, told, answer, action = _findings(context, [anomaly], on, rows)
    return _why(anomaly_id, "anomaly", str(anomaly["ship_id"]), told, answer, action, entries, left_out)


def _of_event(context: ApiContext, tracking_id: str) -> Why | None:
    reader = context.reader
    most = evidence_query.MAX_ALSO_SENT
    logs, samples = evidence.logs(reader, [tracking_id], most), evidence.samples(reader, [tracking_id], most)
    raw = evidence.by_arrival(logs + samples)
    found = list(evidence.anomalies(evidence_query.anomalies_on(reader, tracking_id)).values())
    refs = [str(each["anomaly_id"]) for each in found]
    on = _incidents_on(context, tracking_id, refs, any_of_event=True)
    rows, left_out = query.held(reader, tracking=tracking_id, anomalies=refs)
    if not (raw or found or on):
        return None
    entries, told, answer, action = _findings(context, found, on, rows)
    if raw:
        entries.append(entry.of_arrival(raw[0]))
        entries += [entry.of_sent_again(each) for each in raw[1:]]
        if not found:
            answer, action = _nothing_found(raw[0])
    ship_id = str((raw or found or on)[0]["ship_id"])
    return _why(tracking_id, "event", ship_id, told, answer, action, entries, left_out)


def _incidents_on(context: ApiContext, tracking_id: str, refs: Sequence[str], *, any_of_event: bool) -> list[Json]:
    """The latest revision of at most 5 incidents that rest on these, with joined_at and first_revision added."""
    rows = evidence_query.incidents_on(context.reader, tracking_id if any_of_event else "", refs)[:MAX_INCIDENTS]
    bodies = incident_query.latest(context.reader, [row["incident_id"] for row in rows])
    return [
        {**json.loads(bodies[row["incident_id"]]), "joined_at": row["published_at"]}
        for row in rows
        if row["incident_id"] in bodies
    ]


def _findings(
    context: ApiContext, found: Sequence[Json], on: Sequence[Json], rows: Sequence[Row]
) -> tuple[list[WhyEntry], bool, str, str | None]:
    """What is to be said of findings: entries, whether people were told, the answer, what to do."""
    now = context.clock()
    ids = [str(each["incident_id"]) for each in on]
    told = query.told(context.reader, ids)
    above = query.held(context.reader, incidents=[each for each in ids if each not in told])[0]
    known = {(row["kind"], row["held_by"], row["about"]) for row in rows}
    rows = [*rows, *(row for row in above if (row["kind"], row["held_by"], row["about"]) not in known)]
    entries = [entry.of_finding(each) for each in found]
    entries += [entry.of_evidence(each) for each in on]
    entries += [entry.of_held(row, now, None) for row in rows]
    if told:
        first = next(each for each in on if each["incident_id"] in told)
        answer, action = _incident_answer(first, told[first["incident_id"]], _ruling(rows, now))
        return entries, True, answer, action
    if on:
        answer, action = _incident_answer(on[0], None, _ruling(rows, now))
        return entries, False, answer, action
    if rows:
        ruling = _ruling(rows, now) or rows[-1]
        action = entry.of_held(ruling, now, None).action
        return entries, False, f"You were not told: {ruling['reason']}", action
    if found and all(each["state"] == "cleared" for each in found):
        return entries, False, "It only says that something is over; that opens no incident", None
    reason = "no incident rests on it: too few findings of its kind so far (min_events within window_s)"
    return entries, False, f"You were not told: {reason}", "watchkeeper policy show"


def _of_silence(context: ApiContext, any_id: str) -> Why | None:
    """A silence, a maintenance window or a command."""
    now = context.clock()
    rows, left_out = query.held(context.reader, by=any_id)
    commands = query.audit(context.reader, any_id)
    if not rows and not commands:
        return _of_what_is_left(context, any_id)
    entries = [entry.of_command(row) for row in commands] + [entry.of_held(row, now, None) for row in rows]
    ship_id = commands[0]["ship_id"] if commands else rows[0]["ship"]
    made = next((row for row in commands if row["action"] == "silence" and row["outcome"] == "applied"), None)
    if made is None and not rows:
        last = commands[-1]
        answer = f"The {last['action']} of {last['actor']} was {last['outcome']}: {last['reason']}"
        return _why(any_id, "command", ship_id, False, answer, None, entries, left_out)
    until = _until(made, rows)
    ended = any(row["action"] == "unsilence" and row["outcome"] == "applied" for row in commands)
    holds = not ended and (until is None or until > now)
    silence_id = made["silence_id"] if made else any_id
    is_silence = made is not None or rows[-1]["kind"] == "silence"
    count = sum(row["records"] for row in rows)
    end = entry.clock_text(until) if until else "a time that is not recorded"
    state = f"holds until {end}" if holds else "no longer holds"
    answer = f"This {'silence' if is_silence else 'window'} has held back {count} so far and {state}"
    action = f"watchkeeper unsilence {silence_id}" if holds and is_silence else None
    return _why(any_id, "silence", ship_id, False, answer, action, entries, left_out)


def _of_what_is_left(context: ApiContext, incident_id: str) -> Why | None:
    """An incident that is not stored itself, but was named by what was held back."""
    rows, left_out = query.held(context.reader, incidents=[incident_id])
    if not rows:
        return None
    entries = [entry.of_held(row, context.clock(), incident_id) for row in rows]
    answer = "The incident itself is not stored (yet, or any more); this is what was held back for it"
    return _why(incident_id, "incident", rows[0]["ship"], False, answer, None, entries, left_out)


def _until(made: Row | None, rows: Sequence[Row]) -> datetime | None:
    if made is not None and made["until_text"]:
        return datetime.fromisoformat(made["until_text"])
    return max((row["until_at"] for row in rows), default=None)


def _ruling(rows: Sequence[Row], now: datetime) -> Row | None:
    """What holds it back most lately, repetition aside."""
    serious = [row for row in rows if row["kind"] not in ("duplicate", "suppressed")]
    return max(serious, key=lambda row: (row["until_at"] > now, row["last_at"]), default=None)


def _nothing_found(raw: Json) -> tuple[str, str]:
    """The answer where no detector spoke, and where to look."""
    answer = "You were not told: no detector found it out of the ordinary"
    if "msg" in raw:
        return answer, "see detect.patterns: watchkeeper policy show"
    return answer, f"watchkeeper plot {raw['device_id']}/{raw['service']}/{raw['metric_name']}"


def _why(
    any_id: str,
    kind: Any,
    ship_id: str,
    told: bool,
    answer: str,
    action: str | None,
    entries: Sequence[WhyEntry],
    left_out: int,
) -> Why:
    ordered = sorted(entries, key=lambda each: each.at or _FIRST)
    return Why(
        id=any_id,
        kind=kind,
        ship_id=ship_id,
        told=told,
        answer=answer,
        action=action,
        entries=ordered,
        left_out=left_out,
    )
