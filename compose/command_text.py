"""What a person types for a command, read; and what became of it, in plain words."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

from compose.api_client import ApiClient
from compose.commands import CommandError, Outcome
from compose.visible import visible
from operators.correlate.matchers import FIELDS, parse_matchers
from schemas.base import UUID_PATTERN
from schemas.ops import AuditEvent, OpsCommand

MAX_DURATION_S: Final = 31_536_000
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
_IS_UUID = re.compile(UUID_PATTERN).fullmatch


class Target(NamedTuple):
    """An incident or a silence, and the ship it is on."""

    id: str
    ship_id: str


class Words(NamedTuple):
    """What is to be said of a command: what became of it, and what to do next (the arguments of watchkeeper)."""

    said: str
    hint: str
    following: str


def find_target(kind: Literal["incident", "silence"], text: str, api: ApiClient, ship_id: str) -> Target:
    """The incident or silence that is meant: a whole UUID as it is, else the only one whose id begins so, by the API.

    Raises:
        CommandError: for what can be no id, and when none or several begin so.
        ApiAwayError: when the API does not answer; the whole id does without it.
    """
    wanted = text.strip().lower()
    if _IS_UUID(wanted):
        return Target(wanted, ship_id)
    if len(wanted) < 4:
        raise CommandError(f"{kind} {text!r}: expected its id, or at least the first 4 characters of it")
    found = api.get("ids", wanted, kind=kind, limit=5)
    items = found["items"]
    if not items:
        raise CommandError(f"no {kind}'s id begins with {text}; list them with: watchkeeper {kind}s")
    if len(items) > 1 or found["more"]:
        shown = "".join(f"\n  {item['id']}  {visible(item['title'], keep='')}" for item in items)
        raise CommandError(f"{text} is the beginning of several ids, give more of it:{shown}")
    return Target(items[0]["id"], items[0]["ship_id"])


def read_matchers(texts: Sequence[str]) -> dict[str, str]:
    """What a silence matches on, from key=value.

    >>> read_matchers(["device_id=vsat-1", "rule=rf_*"])
    {'device_id': 'vsat-1', 'rule': 'rf_*'}

    Raises:
        CommandError: naming the matcher and what was expected.
    """
    matchers: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise CommandError(f"--match {text!r}: expected key=value, for example device_id=vsat-1")
        if key not in FIELDS:
            near = get_close_matches(key, FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(FIELDS)}"
            raise CommandError(f"--match {text!r}: unknown key {key}, {hint}")
        if key in matchers:
            raise CommandError(f"--match: {key} is given twice; all matchers must hold, so give each key once")
        matchers[key] = value
    try:
        return parse_matchers(matchers).given
    except ValueError as error:
        raise CommandError(f"--match: {error}") from error


def read_duration(option: str, text: str, most_s: float = MAX_DURATION_S) -> float:
    """Seconds, from text such as 90m, 2h, 1h30m or 1d.

    >>> read_duration("--for", "1h30m")
    5400.0

    Raises:
        CommandError: for other text, nothing, or more than most_s.
    """
    match = _DURATION.fullmatch(text.strip())
    sizes = (86_400, 3600, 60, 1)
    seconds = sum(int(part or 0) * size for part, size in zip(match.groups(), sizes, strict=True)) if match else 0
    if not seconds:
        raise CommandError(f"{option} is {text!r}: expected for example 90m, 2h, 1h30m or 1d")
    if seconds > most_s:
        raise CommandError(f"{option} is {text!r}: expected at most {most_s / 86_400:g}d")
    return float(seconds)


def explain_outcome(outcome: Outcome, wait_s: float) -> Words:
    """What became of the command, and the next step."""
    command, audit = outcome.command, outcome.audit
    about = command.incident_id or str(command.args.get("silence_id") or command.command_id)
    if audit is None:
        more = f" ({outcome.problem})" if outcome.problem else ""
        said = f"no answer within {wait_s:g} s{more}; the command is stored and will be carried out once it is read"
        return Words(said, "see whether the flow runs (watchkeeper doctor), later:", f"why {command.command_id}")
    if audit.outcome == "refused":
        following = "silence --help" if command.action == "silence" else f"why {about}"
        return Words(f"refused: {audit.reason}", "next:", following)
    if audit.outcome == "unchanged":
        return Words(f"nothing to do: {audit.reason}", "next:", f"why {about}")
    return Words(_done(command, audit), *_next(command, audit, about))


def _done(command: OpsCommand, audit: AuditEvent) -> str:
    match command.action:
        case "silence":
            what = ", ".join(f"{key}={value}" for key, value in command.args["matchers"].items())
            until = f" until {audit.until:%Y-%m-%d %H:%M} UTC" if audit.until is not None else ""
            return f"silenced by {audit.by}{until}: {what}"
        case "unsilence":
            return f"silence {command.args['silence_id']} is ended by {audit.by}"
        case "assign":
            return f"incident {command.incident_id} is assigned to {command.args['assignee']}"
        case "comment":
            return f"incident {command.incident_id} has the comment of {audit.by}"
        case action:
            word = {"ack": "acknowledged", "resolve": "resolved", "reopen": "open again"}[action]
            return f"incident {command.incident_id} is {word}, by {audit.by}"


def _next(command: OpsCommand, audit: AuditEvent, about: str) -> tuple[str, str]:
    match command.action:
        case "silence":
            return "it ends by itself, or now:", f"unsilence {audit.silence_id or command.command_id}"
        case "ack" | "assign":
            return "it resolves by itself once all is quiet, or by hand:", f'resolve {about} --reason "…"'
        case "resolve":
            return "if that was too early:", f"reopen {about}"
        case "reopen":
            return "next:", f"ack {about}"
        case _:
            return "next:", f"why {about}"
