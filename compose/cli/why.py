"""`watchkeeper why`: why did I, or did I not, hear about this."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from compose.cli.edge import ApiUrl, AsJson, echo, echo_json, guarded, pasteable, read_settings, say

ID_HELP = "Of an incident, anomaly, log line or sample (tracking_id), silence or command; or a maintenance window."


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(why)


def why(
    any_id: Annotated[str, typer.Argument(metavar="ID", help=ID_HELP)], api: ApiUrl = None, as_json: AsJson = False
) -> None:
    """Say why you did, or did not, hear about something, and what to do."""
    from compose.api_client import api_client

    settings = read_settings()
    answer = guarded(lambda: api_client(settings, api).get("why", any_id))
    if as_json:
        echo_json(answer)
        return
    say(f"{answer['kind']} {answer['id']}, ship {answer['ship_id']}")
    say(answer["answer"])
    if answer["action"]:
        echo(f"→ {pasteable(answer['action'], api)}")
    for entry in answer["entries"]:
        _tell(entry, answer["action"], api)
    if answer["left_out"]:
        say(f"{answer['left_out']} older causes are left out")


def _tell(entry: dict[str, Any], said: str | None, api: str | None) -> None:
    lead = f"{_time(entry['at'])}  "
    text = entry["text"]
    if entry["count"] > 1:
        text += f" ({entry['count']} times, the last at {_time(entry['last_at'])})"
    if entry["until"]:
        text += f"; until {_time(entry['until'])}"
    say(text, lead=lead)
    if entry["action"] and entry["action"] != said:
        echo(f"{' ' * len(lead)}→ {pasteable(entry['action'], api)}")


def _time(text: str | None) -> str:
    if text is None:
        return " " * len("2026-03-01 00:00:00Z")
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
