"""`watchkeeper recover`: a flow's state anew, from its streams."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from compose.cli.edge import advise, echo, fail, guarded, read_settings, say
from compose.errors import EXIT_CONFIGURATION, EXIT_FAILED
from compose.launch import FlowName, prepare_process
from compose.visible import visible

if TYPE_CHECKING:
    from compose.recover import Rebuilt

MAX_LISTED = 20


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("recover")(recover_flow)


def recover_flow(
    flow: Annotated[FlowName, typer.Argument(help="Which flow; it must not be running.")],
    start: Annotated[
        str,
        typer.Option(
            "--from", help="A sequence of the stream it reads, a time (2026-03-01T12:00Z), or `first`: all there is."
        ),
    ] = "first",
    data: Annotated[Path | None, typer.Option(help="The data folder; the configured one when not given.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Folder of the policy.")] = None,
) -> None:
    """Rebuild a flow's state by reading its streams again; the old recovery store is moved aside, never deleted.

    What was published already is not published again.
    """
    from compose.recover import recover

    begin = read_start(start)
    settings = read_settings(data_dir=data, policy_dir=policy)
    prepare_process()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"reading for {flow}")
        rebuilt = guarded(
            lambda: recover(flow, settings, begin, lambda read, total: bar.update(task, completed=read, total=total))
        )
    _tell(rebuilt)
    if not rebuilt.finished:
        say(f"interrupted; the next start of the {flow} flow goes on with it")
        raise typer.Exit(EXIT_FAILED)
    advise("the state is rebuilt; next:", f"run {flow}")


def _tell(rebuilt: "Rebuilt") -> None:
    """What became of it, and what could not be rebuilt."""
    if rebuilt.moved is not None:
        say(f"the old recovery store is kept as {rebuilt.moved}")
    say(
        f"{rebuilt.read} messages read again, {rebuilt.skipped} of what they led to was published already, "
        f"{rebuilt.published} is new"
    )
    for note in _notes(rebuilt):
        say(note, lead="note: ")
    if rebuilt.lost:
        say(f"{len(rebuilt.lost)} incidents were open and cannot be rebuilt; they stay as last told:", lead="note: ")
        for incident in rebuilt.lost[:MAX_LISTED]:
            title = visible(incident.title, keep="")
            echo(f"  {incident.incident_id}  {title} (since {incident.opened_at:%Y-%m-%d %H:%M} UTC)")


def _notes(rebuilt: "Rebuilt") -> Iterator[str]:
    for name, each in rebuilt.starts.items():
        if each.is_empty and len(rebuilt.starts) == 1:
            yield f"{name} holds nothing to read from there on: nothing can be rebuilt"
        elif each.is_cut:
            when = f" ({each.at:%Y-%m-%d %H:%M:%S} UTC)" if each.at is not None else ""
            why = "it has nothing earlier" if each.sequence == each.kept else "as you asked"
            yield (
                f"{name} was read from message {each.sequence}{when} on, {why}: what was learnt from earlier messages "
                "is not rebuilt, and what began earlier may be told again as a new incident"
            )
    for name, count in sorted(rebuilt.unclaimed.items()):
        yield (
            f"{count} messages in {name} did not come again: they are older than the start, or policy or program "
            "have changed since"
        )


def read_start(text: str) -> int | datetime | Literal["first"]:
    """Where to begin, as a person types it.

    >>> read_start("17"), read_start("2026-03-01T12:00Z").hour, read_start("first")
    (17, 12, 'first')
    """
    if text == "first":
        return "first"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--from {text!r}: expected a sequence, a time such as 2026-03-01T12:00Z, or first", EXIT_CONFIGURATION)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
