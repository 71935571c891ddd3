"""`watchkeeper devices`: the ship's inventory, in and out."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compose.cli.edge import (
    ApiUrl,
    AsJson,
    ShipId,
    advise,
    cell,
    echo_json,
    fail,
    guarded,
    pasteable,
    read_settings,
    say,
)
from compose.errors import EXIT_FAILED

EXAMPLE = """
devices:
  vsat-1: {device_type: modem, location: radar mast, criticality: high}
  rtr-1: {device_type: router, criticality: high, depends_on: [vsat-1]}
  srv-app-1:
    device_type: server
    vendor: Example Compute
    model: S-220
    depends_on: [rtr-1]
"""


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="The ship's devices and what they depend on.", no_args_is_help=True)
    group.command("import", help=_import_help())(import_devices)
    group.command("list")(list_devices)
    app.add_typer(group, name="devices")


def _import_help() -> str:
    lines = "\n".join(f"    {escape(line)}" for line in EXAMPLE.strip().splitlines())
    return (
        "Tell Watchkeeper the ship's devices, from a YAML file.\n\n"
        "A device that fires explains what depends on it: one incident, not twelve. criticality is low, medium, "
        "high or critical. A line `ship: NAME` on top names another ship than this one. Example:\n\n\b\n" + lines
    )


def import_devices(
    file: Annotated[Path, typer.Argument(help="The inventory.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check it and say what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove devices that the file no longer has.")] = False,
    api: ApiUrl = None,
) -> None:
    """Tell Watchkeeper the ship's devices, from a YAML file."""
    from compose.api_client import ApiAwayError, api_client
    from compose.devices import compare, known_devices, read_inventory, send_devices
    from operators.jetstream import NatsConfig

    settings = read_settings()
    client = guarded(lambda: api_client(settings, api))

    def ask(ship_id: str) -> Collection[str] | None:
        try:
            return known_devices(client, ship_id).keys()
        except ApiAwayError:
            return None

    inventory = guarded(lambda: read_inventory(file, settings.ship_id, None if prune else ask))
    for warning in inventory.warnings:
        say(warning, lead="warning: ", err=True)
    changes = None
    try:
        changes = compare(inventory, known_devices(client, inventory.ship_id))
    except ApiAwayError as error:
        if prune:
            fail(f"--prune needs to know what was there, and {error}. Nothing was sent.", EXIT_FAILED)
        say(f"what it changes cannot be told, for {error}", lead="note: ", err=True)
    count = len(inventory.devices)
    if changes is not None:
        _names("new", changes.new)
        _names("changed", changes.changed)
        _names("removed" if prune else "not in the file, kept (--prune removes them)", changes.vanished)
    if dry_run:
        say(f"{file} is right: {_count(count)} of {inventory.ship_id}; nothing was sent (--dry-run)")
        return
    removed = changes.removed if changes is not None and prune else ()
    guarded(lambda: send_devices(NatsConfig.of(settings), [*inventory.devices, *removed]))
    say(f"{_count(count)} of {inventory.ship_id} imported" + (f", {len(removed)} removed" if removed else ""))
    advise("next:", "devices list", api=api)


def _count(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _names(what: str, names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        say(f"{len(names)} {what}: {shown}")


def list_devices(api: ApiUrl = None, ship: ShipId = None, as_json: AsJson = False) -> None:
    """List the devices that the archive knows, by the API."""
    from compose.api_client import api_client

    settings = read_settings()
    answer = guarded(lambda: api_client(settings, api).get("devices", ship=ship))
    if as_json:
        echo_json(answer["items"])
        return
    if not answer["items"]:
        say(f"no devices are known yet; tell them with: {pasteable('watchkeeper devices import FILE')}")
        return
    several = len({item["ship_id"] for item in answer["items"]}) > 1
    table = Table(box=None, pad_edge=False)
    for column in (*(["ship"] if several else []), "device", "type", "location", "criticality", "depends on"):
        table.add_column(column, overflow="fold", header_style="bold")
    for item in answer["items"]:
        name = [item["ship_id"]] if several else []
        cells = [*name, item["device_id"], item["device_type"], item["location"], item["criticality"]]
        table.add_row(*map(cell, cells), cell(", ".join(item["depends_on"])))
    Console().print(table)
    if answer["more"]:
        say("there are more than these; ask for one ship with --ship")
