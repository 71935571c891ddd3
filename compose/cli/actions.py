"""What people do about incidents: ack, assign, comment, resolve, reopen, silence, unsilence."""

from typing import Annotated, Any, Literal

import typer

from compose.cli.edge import ApiUrl, ShipId, advise, fail, guarded, read_settings, say
from compose.errors import EXIT_CONFIGURATION, EXIT_FAILED
from schemas.ops import Action

Incident = Annotated[str, typer.Argument(help="The incident's id, or the beginning of it.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with the incident.")]
WhyOrNot = Annotated[str | None, typer.Option("--reason", help="Why; it is kept with the incident.")]
By = Annotated[str | None, typer.Option("--by", envvar=["USER", "LOGNAME"], help="Who says so.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait for the answer.", min=0.1, max=60)]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (ack, assign, comment, resolve, reopen, silence, unsilence):
        app.command(rich_help_panel="Act on incidents")(command)


def ack(
    incident: Incident, reason: WhyOrNot = None, by: By = None, api: ApiUrl = None, ship: ShipId = None, wait: Wait = 5
) -> None:
    """Say that somebody looks after an incident."""
    _act("ack", incident, by, api, ship, wait, reason=reason)


def assign(
    incident: Incident,
    who: Annotated[str, typer.Argument(help="Who is to look after it.")],
    reason: WhyOrNot = None,
    by: By = None,
    api: ApiUrl = None,
    ship: ShipId = None,
    wait: Wait = 5,
) -> None:
    """Give an incident to somebody."""
    _act("assign", incident, by, api, ship, wait, reason=reason, args={"assignee": who})


def comment(
    incident: Incident,
    text: Annotated[str, typer.Argument(help="What is to be noted.")],
    by: By = None,
    api: ApiUrl = None,
    ship: ShipId = None,
    wait: Wait = 5,
) -> None:
    """Note something on an incident."""
    _act("comment", incident, by, api, ship, wait, args={"text": text})


def resolve(
    incident: Incident, reason: Why, by: By = None, api: ApiUrl = None, ship: ShipId = None, wait: Wait = 5
) -> None:
    """End an incident by hand."""
    _act("resolve", incident, by, api, ship, wait, reason=reason)


def reopen(
    incident: Incident, reason: WhyOrNot = None, by: By = None, api: ApiUrl = None, ship: ShipId = None, wait: Wait = 5
) -> None:
    """Open a resolved incident again."""
    _act("reopen", incident, by, api, ship, wait, reason=reason)


def silence(
    match: Annotated[
        list[str],
        typer.Option("--match", help="key=value, such as device_id=vsat-1 or rule=rf_*; repeat it: all must hold."),
    ],
    duration: Annotated[
        str, typer.Option("--for", help="How long, for example 90m, 2h or 1d; policy sets the most (7d).")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody who asks is told.")],
    by: By = None,
    ship: ShipId = None,
    wait: Wait = 5,
) -> None:
    """Hold back what matches, for a while; what it held back is counted and can be asked for."""
    from compose.command_text import read_duration, read_matchers

    args = guarded(lambda: {"matchers": read_matchers(match), "duration_s": read_duration("--for", duration)})
    _act("silence", None, by, None, ship, wait, reason=reason, args=args)


def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="The silence's id, or the beginning of it.")],
    reason: WhyOrNot = None,
    by: By = None,
    api: ApiUrl = None,
    ship: ShipId = None,
    wait: Wait = 5,
) -> None:
    """End a silence before its time."""
    _act("unsilence", silence_id, by, api, ship, wait, reason=reason)


def _act(
    action: Action,
    target: str | None,
    by: str | None,
    api: str | None,
    ship: str | None,
    wait_s: float,
    *,
    reason: str | None = None,
    args: dict[str, Any] | None = None,
) -> None:
    """Send the command, say what became of it, and end with 1 if it was not done."""
    from compose.api_client import api_client  # NATS and what it needs: only where it is used
    from compose.command_text import Target, explain_outcome, find_target
    from compose.commands import make_command, send_command
    from operators.jetstream import NatsConfig

    settings = read_settings()
    if not by:
        fail("--by is missing: say who you are (neither USER nor LOGNAME is set)", EXIT_CONFIGURATION)
    if reason is not None and not reason.strip():
        fail("--reason is empty: say why in a few words", EXIT_CONFIGURATION)
    kind: Literal["incident", "silence"] = "silence" if action == "unsilence" else "incident"
    own = ship or settings.ship_id
    found = Target("", own)
    if target is not None:
        found = guarded(lambda: find_target(kind, target, api_client(settings, api), own))
    command = guarded(
        lambda: make_command(
            action,
            ship_id=found.ship_id,
            by=by,
            incident_id=found.id if kind == "incident" and target is not None else None,
            reason=reason,
            args={**(args or {}), "silence_id": found.id} if action == "unsilence" else args,
        )
    )
    outcome = guarded(lambda: send_command(NatsConfig.of(settings), command, wait_s=wait_s))
    words = explain_outcome(outcome, wait_s)
    say(words.said, err=not outcome.done)
    advise(words.hint, words.following, api=api, err=not outcome.done)
    raise typer.Exit(0 if outcome.done else EXIT_FAILED)
