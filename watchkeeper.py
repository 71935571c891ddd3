"""The command line: the front door of Watchkeeper."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from compose.capture import capture_to
from compose.cli import actions, incidents, inventory, recover, silences, why
from compose.cli.edge import AsJson, cell, echo, echo_json, guarded, read_settings
from compose.doctor import examine
from compose.errors import EXIT_FAILED
from compose.launch import FlowName, prepare_process, run_flow
from compose.replay import replay as replay_captures
from compose.visible import escape_json
from operators.jetstream import NatsConfig
from operators.observability import configure_logging
from policy import describe, load_policy

app = typer.Typer(
    name="watchkeeper",
    help="Keeps watch over a ship's systems: logs and metrics in, few and true incidents out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy_app = typer.Typer(help="Check, show and document the policy.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

PolicyDir = Annotated[
    Path | None, typer.Option("--policy", help="Folder of the policy; the shipped one when not given.")
]


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Where everything that must survive is kept.")] = Path("data"),
    port: Annotated[int, typer.Option(help="Port of the API, on 127.0.0.1.")] = 8080,
    policy: PolicyDir = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Simulate a ship with faults.")] = True,
    host_metrics: Annotated[bool, typer.Option("--host-metrics/--no-host-metrics", help="Watch this machine.")] = True,
) -> None:
    """Run the whole system on this machine, with nothing else installed."""
    from compose.embedded import up as run_up  # chDB takes a second to load: only where it is used

    settings = read_settings(data_dir=data, api_port=port, policy_dir=policy)
    raise typer.Exit(run_up(settings, demo=demo, host_metrics=host_metrics))


@app.command()
def run(flow: Annotated[FlowName, typer.Argument(help="Which flow.")]) -> None:
    """Run one flow as a process of its own."""
    raise typer.Exit(run_flow(flow, read_settings()))


@app.command()
def api() -> None:
    """Serve the REST API over ClickHouse."""
    from api.serve import from_settings  # FastAPI takes half a second to load

    settings = read_settings()
    guarded(lambda: from_settings(settings).run())


@app.command()
def clickhouse(
    path: Annotated[Path, typer.Option(help="Where the database is kept.")] = Path("data/clickhouse"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the HTTP interface.")] = 8123,
) -> None:
    """Serve chDB behind ClickHouse's HTTP interface, for layouts of several processes."""
    from compose.clickhouse_http import run as run_server

    read_settings()
    raise typer.Exit(run_server(path, host, port))


@app.command()
def capture(
    out: Annotated[Path, typer.Argument(help="File to write; - is standard output.")],
    stream: Annotated[str, typer.Option(help="The stream to read.")] = "TELEMETRY",
    first: Annotated[int, typer.Option(help="First sequence.", min=1)] = 1,
    count: Annotated[int | None, typer.Option(help="At most so many messages.", min=1)] = None,
) -> None:
    """Write what a stream holds now as NDJSON, for replay and tests.

    The messages are as they arrived, before redaction: the file holds whatever personal data was sent. Keep it as you
    would keep the logs themselves.
    """
    settings = read_settings()
    config = NatsConfig.of(settings)
    written = guarded(lambda: capture_to(config, out, stream=stream, first=first, count=count))
    echo(f"{written} messages of {stream}", err=True)


@app.command()
def replay(
    captures: Annotated[
        list[Path], typer.Argument(help="Captures (.ndjson, .ndjson.gz); several are merged by arrival.")
    ],
    policy: PolicyDir = None,
    final: Annotated[bool, typer.Option("--final", help="One line an incident, in its last state.")] = False,
) -> None:
    """Run the vessel flow over captures without NATS; incidents as NDJSON on standard output."""
    settings = read_settings(policy_dir=policy)
    configure_logging("error", settings.log_format)  # what a replay finds is its output
    prepare_process()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("replay")

        def show(read: int, lines: int) -> None:
            bar.update(task, completed=read, total=lines)

        summary = guarded(
            lambda: replay_captures(captures, load_policy(policy), settings, _print_line, final=final, progress=show)
        )
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)
    echo(str(summary), err=True)


@app.command()
def plot(
    name: Annotated[str, typer.Argument(help="A series, the end of its name, or the id of an anomaly.")],
    api: Annotated[str | None, typer.Option(help="Address of the API; the configured one when not given.")] = None,
    captures: Annotated[
        list[Path] | None, typer.Option("--capture", help="Read this capture instead of the API; repeat for several.")
    ] = None,
    policy: PolicyDir = None,
    ago: Annotated[str | None, typer.Option("--since", help="The last so long, for example 90m, 24h or 7d.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time, for example 2026-03-01T12:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this time.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a picture into this file as well.")] = None,
    width: Annotated[int | None, typer.Option(help="Columns; the terminal's, else 80.", min=40, max=1000)] = None,
) -> None:
    """Draw a series, the band that it was expected in, and what was found on it."""
    from compose.plot.command import Request, draw  # an HTTP client is loaded only where it is used

    settings = read_settings(policy_dir=policy)
    configure_logging("error", settings.log_format)
    request = Request(name, api, tuple(captures or ()), ago, since, until, png)
    guarded(lambda: draw(request, load_policy(settings.policy_dir), settings, sys.stdout, width))


@app.command()
def doctor(
    data: Annotated[Path | None, typer.Option(help="The data folder; the configured one when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is reachable, in which version, and what to do about the rest; of `up`, its own parts."""
    checks = list(examine(read_settings(data_dir=data)))
    if as_json:
        echo_json([check.to_dict() for check in checks])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        colors = {"ok": "green", "warning": "yellow", "failed": "red"}
        for check in checks:
            found = cell(check.found)
            if check.status != "ok":
                found.append("\n→ ").append_text(cell(check.remedy))
            table.add_row(cell(check.status, colors[check.status]), cell(check.part), found)
        Console().print(table)
    raise typer.Exit(EXIT_FAILED if any(check.status == "failed" for check in checks) else 0)


@policy_app.command("check")
def policy_check(policy: PolicyDir = None) -> None:
    """Load the policy; say whether it is right, or which key is wrong and what was expected."""
    from operators.detect.custom import check_custom

    loaded = guarded(lambda: describe.check(policy))
    guarded(lambda: check_custom(loaded))
    echo(f"policy is right: profile {loaded.default.profile}, hash {loaded.hash}")


@policy_app.command("show")
def policy_show(
    policy: PolicyDir = None,
    ship: Annotated[str | None, typer.Option(help="With this ship's overrides.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every value in force and where it comes from."""
    loaded = guarded(lambda: load_policy(policy))
    rows = describe.show(loaded, ship)
    if as_json:
        echo_json([{"key": key, "value": value, "from": origin} for key, value, origin in rows])
        return
    for key, value, origin in rows:
        echo(f"{key}: {json.dumps(value, ensure_ascii=False)}  ({origin})")


@policy_app.command("schema")
def policy_schema() -> None:
    """Print the JSON schema of all policy files."""
    echo_json(describe.schema())


def _print_line(text: str) -> None:
    try:
        sys.stdout.write(escape_json(text) + "\n")
    except BrokenPipeError:
        os._exit(0)  # nobody reads on: `replay FILE | head -1` is no failure
    except OSError as error:
        _stop_at_once(f"standard output cannot be written: {error.strerror}")


def _stop_at_once(message: str) -> NoReturn:
    """End without unwinding through Bytewax, which would print a panic of its own."""
    echo(f"watchkeeper: {message}", err=True)
    os._exit(EXIT_FAILED)


inventory.add_to(app)
why.add_to(app)
incidents.add_to(app)
silences.add_to(app)
actions.add_to(app)
recover.add_to(app)


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
