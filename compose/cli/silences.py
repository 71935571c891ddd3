"""`watchkeeper silences`: what is not told just now, and whose wish that is."""

from datetime import UTC, datetime
from typing import Any

import typer

from compose.cli.edge import ApiUrl, AsJson, ShipId, advise, echo, echo_json, guarded, pasteable, read_settings, say


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Act on incidents")(silences)


def silences(api: ApiUrl = None, ship: ShipId = None, as_json: AsJson = False) -> None:
    """List the silences in force, the first to end first: what, whose, why, until when, and what each held back."""
    from compose.api_client import api_client

    settings = read_settings()
    answer = guarded(lambda: api_client(settings, api).get("silences", ship=ship))
    if as_json:
        echo_json(answer["items"])
        return
    if not answer["items"]:
        say(f"nothing is silenced; make a silence with: {pasteable('watchkeeper silence --help')}")
        return
    several = len({item["ship_id"] for item in answer["items"]}) > 1
    for item in answer["items"]:
        _tell(item, several)
    if answer["more"]:
        say("there are more than these; ask for one ship with --ship")
    advise("end one before its time:", f"unsilence {answer['items'][0]['silence_id']}", api=api)


def _tell(item: dict[str, Any], several: bool) -> None:
    what = ", ".join(f"{key}={value}" for key, value in item["matchers"].items()) or "what it matches is not recorded"
    until = f"until {_time(item['expires_at'])}" if item["expires_at"] else "its end is not recorded"
    where = f"ship {item['ship_id']}: " if several else ""
    held = f"held back {item['hits']}" + (f", the last at {_time(item['last_hit_at'])}" if item["hits"] else "")
    echo(item["silence_id"])
    say(f"{where}{what}; {until}", lead="  ")
    say(f"by {item['owner']}: {item['reason']}", lead="  ")
    say(held, lead="  ")


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
