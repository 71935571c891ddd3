"""What decided whether people were told, one plain sentence each."""

from datetime import UTC, datetime
from typing import Any, Final

from api.context import Row
from api.why_models import WhyEntry

Json = dict[str, Any]

SELF: Final = "watchkeeper"

_TIMELINE: Final = {"created": "Opened", "suppressed": "Held back", "surfaced": "Told after all"}
_HELD: Final = {
    "duplicate": "Not told again",
    "suppressed": "No new incident",
    "maintenance": "Held back by a maintenance window",
    "silence": "Held back by a silence",
    "inhibited": "Held back as a symptom",
    "storm": "Held back in an incident storm",
}


def of_timeline(each: Json) -> WhyEntry:
    """What the incident's own timeline says."""
    event, by = str(each["event"]), str(each["by"])
    word = _TIMELINE.get(event, event.capitalize())
    who = "" if by == SELF else f" by {by}"
    reason = "" if each["reason"] == event else each["reason"]
    return WhyEntry(at=each["at"], what=event, by=by, text=_sentence(f"{word}{who}", reason))


def of_held(row: Row, now: datetime, own: str | None) -> WhyEntry:
    """What was held back, by what; own is the incident that is being explained."""
    kind, by, about = row["kind"], row["held_by"], row["about"]
    action = None
    if kind == "silence" and row["until_at"] > now:
        action = f"watchkeeper unsilence {by}"
    elif kind == "maintenance":
        action = "see the window in correlate.yaml: watchkeeper policy show"
    elif kind in ("inhibited", "storm") and by != own:
        action = f"watchkeeper why {by}"
    elif kind in ("duplicate", "suppressed") and about and about != own:
        action = f"watchkeeper why {about}"
    return WhyEntry(
        at=row["first_at"],
        last_at=row["last_at"] if row["records"] > 1 else None,
        count=row["records"],
        what=kind,
        by=by,
        until=row["until_at"],
        text=_sentence(_HELD.get(kind, f"Held back ({kind})"), row["reason"]),
        action=action,
    )


def of_command(row: Row) -> WhyEntry:
    """What became of a command."""
    done = {"applied": "", "refused": " was refused", "unchanged": " changed nothing"}[row["outcome"]]
    until = datetime.fromisoformat(row["until_text"]) if row["until_text"] else None
    reason = row["reason"].removeprefix(f"{row['action']} by {row['actor']}").removeprefix(": ")
    text = _sentence(f"{row['actor']}'s {row['action']}{done}", reason)
    return WhyEntry(at=row["at"], what=row["action"], by=row["actor"], until=until, text=text)


def of_links(incident: Json) -> list[WhyEntry]:
    """Where the incident came from and where it went on."""
    found = []
    opened_at, updated_at = incident["opened_at"], incident["updated_at"]
    if other := incident.get("successor_of"):
        text = "It comes after an earlier incident of the same key, which had ended"
        found.append(_link(opened_at, "successor", other, text))
    if other := incident.get("inhibited_by"):
        text = "It is a symptom of another incident and surfaces by itself if that ends and it does not"
        found.append(_link(updated_at, "inhibited", other, text))
    if other := incident.get("merged_into"):
        found.append(_link(updated_at, "merged", other, "It was merged into another incident, which goes on"))
    return found


def _link(at: str, what: str, other: str, text: str) -> WhyEntry:
    return WhyEntry(at=datetime.fromisoformat(at), what=what, by=other, text=text, action=f"watchkeeper why {other}")


def of_related(row: Row, incident_id: str) -> WhyEntry:
    """Another incident that was merged into this one, or is held back by it."""
    merged = row["merged_into"] == incident_id
    text = f"{row['title']} was merged into it" if merged else f"It holds back {row['title']}, its symptom"
    other = row["incident_id"]
    return WhyEntry(
        at=row["at"], what="merged" if merged else "mutes", by=other, text=text, action=f"watchkeeper why {other}"
    )


def of_finding(anomaly: Json) -> WhyEntry:
    """What a detector said."""
    at = datetime.fromisoformat(anomaly["observed_at"])
    word = "Found" if anomaly["state"] == "firing" else "Found to be over"
    text = _sentence(f"{word} by {anomaly['detector']}", anomaly["msg"])
    return WhyEntry(at=at, what="found", by=anomaly["detector"], text=text)


def of_evidence(incident: Json) -> WhyEntry:
    """The incident that rests on the finding."""
    incident_id, title, status = incident["incident_id"], incident["title"], incident["status"]
    return WhyEntry(
        at=incident["joined_at"],
        what="evidence",
        by=incident_id,
        text=f"Evidence of {title}, which is {'acknowledged' if status == 'ack' else status} now",
        action=f"watchkeeper why {incident_id}",
    )


def of_arrival(raw: Json) -> WhyEntry:
    """The raw line or sample."""
    what = "a log line" if "msg" in raw else f"a sample of {raw['metric_name']}"
    text = f"Arrived as {what} of {raw['device_id']}/{raw['service']}"
    return WhyEntry(at=datetime.fromisoformat(raw["observed_at"]), what="arrived", by=raw["device_id"], text=text)


def of_sent_again(raw: Json) -> WhyEntry:
    """Something else that came later under the same tracking_id: it changes nothing, but somebody sent it."""
    sent = of_arrival(raw)
    return sent.model_copy(update={"text": f"Sent later with the same tracking_id, changes nothing: {sent.text}"})


def _sentence(head: str, reason: str) -> str:
    return f"{head}: {reason}" if reason else head


def clock_text(at: datetime | str | None) -> str:
    """A time for a sentence.

    >>> clock_text("2026-03-01T00:00:05Z")
    '2026-03-01 00:00:05 UTC'
    """
    if at is None:
        return "an unknown time"
    time = datetime.fromisoformat(at) if isinstance(at, str) else at
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
