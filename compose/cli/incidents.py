"""`watchkeeper incidents`: what is wrong just now."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from compose.cli.edge import ApiUrl, AsJson, ShipId, advise, cell, echo_json, guarded, pasteable, read_settings, say

SHORT: Final = 8
COLORS: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": ""}
SIZES: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Act on incidents")(incidents)


def incidents(
    every: Annotated[bool, typer.Option("--all", help="Resolved and held back ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.", min=1, max=500)] = 50,
    api: ApiUrl = None,
    ship: ShipId = None,
    as_json: AsJson = False,
) -> None:
    """List the incidents that are open or acknowledged, the last changed first."""
    from compose.api_client import api_client

    settings = read_settings()
    status = None if every else ["open", "ack"]
    answer = guarded(lambda: api_client(settings, api).get("incidents", status=status, ship=ship, limit=limit))
    items: list[dict[str, Any]] = answer["items"]
    if as_json:
        echo_json(items)
        return
    if not items:
        all_of_them = pasteable("watchkeeper incidents --all", api)
        say("there are no incidents" if every else f"no incident is open; resolved ones too: {all_of_them}")
        return
    size = _short([item["incident_id"] for item in items])
    Console().print(_table(items, size, datetime.now(UTC)))
    if answer["next_cursor"]:
        say(f"there are more than these {len(items)}; ask for more with --limit, or for one ship with --ship")
    advise("how do we know, and what to do:", f"why {items[0]['incident_id'][:size]}", api=api)


def _table(items: list[dict[str, Any]], size: int, now: datetime) -> Table:
    several = len({item["ship_id"] for item in items}) > 1
    table = Table(box=None, pad_edge=False)
    for column in ("id", "severity", "age", "status", *(["ship"] if several else [])):
        table.add_column(column, no_wrap=column != "ship", overflow="fold", header_style="bold")
    table.add_column("title", overflow="fold", header_style="bold")
    for item in items:
        age = age_text(now - datetime.fromisoformat(item["opened_at"]))
        color = COLORS.get(item["severity"], "")
        where = [cell(item["ship_id"])] if several else []
        known = (cell(item["incident_id"][:size]), cell(item["severity"], color), cell(age), cell(item["status"]))
        table.add_row(*known, *where, cell(item["title"]))
    return table


def _short(ids: list[str]) -> int:
    """So many characters that each of the ids is known by its beginning."""
    return next(size for size in range(SHORT, 257) if len({each[:size] for each in ids}) == len(set(ids)))


def age_text(age: timedelta) -> str:
    """The largest unit that an age fills.

    >>> age_text(timedelta(hours=30)), age_text(timedelta(seconds=-1))
    ('1d', '0s')
    """
    seconds = max(int(age.total_seconds()), 0)
    return next((f"{seconds // size}{unit}" for size, unit in SIZES if seconds >= size), "0s")
