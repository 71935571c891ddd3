"""What every command needs: settings, errors in one line, and words that are safe to print and fit the terminal."""

import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.text import Text

from compose.errors import exit_code, known_cause
from compose.visible import visible, visible_json
from operators.observability import configure_logging
from schemas.settings import Settings

T = TypeVar("T")

MAX_WIDTH: Final = 100
USUAL_WIDTH: Final = 80
ASKING: Final = frozenset(
    ("why", "plot", "ack", "assign", "comment", "resolve", "reopen", "unsilence", "silences", "incidents", "devices")
)
"""Commands that take --api."""

ApiUrl = Annotated[str | None, typer.Option("--api", help="Address of the API; the configured one when not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ShipId = Annotated[str | None, typer.Option("--ship", help="Which ship; this vessel when not given.")]


def read_settings(**overrides: Any) -> Settings:
    """The settings, with logging set up by them; a wrong one ends the program with one line."""
    settings: Settings = guarded(lambda: Settings.load(**overrides))
    configure_logging(settings.log_level, settings.log_format)
    return settings


def guarded(action: Callable[[], T]) -> T:
    """Do it; an error that says what is wrong ends the program with that one line."""
    try:
        return action()
    except Exception as error:
        cause = known_cause(error)
        if cause is None:
            raise
        fail(str(cause), exit_code(error))


def fail(message: str, code: int) -> NoReturn:
    """End with a message on standard error."""
    echo(f"watchkeeper: {message}", err=True)
    raise typer.Exit(code)


def say(text: str, *, lead: str = "", err: bool = False) -> None:
    """Print a sentence, folded to the terminal's width under its lead; ids and commands are not broken."""
    width = min(shutil.get_terminal_size((USUAL_WIDTH, 24)).columns, MAX_WIDTH)
    folded = textwrap.fill(
        " ".join(visible(text).split()),
        max(width, 40),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
    echo(folded, err=err)


def advise(hint: str, following: str, *, api: str | None = None, err: bool = False) -> None:
    """Print what to do next: the command on one line, however long, for it is to be copied."""
    say(hint, lead="→ ", err=err)
    echo(f"  {pasteable(f'watchkeeper {following}', api)}", err=err)


def echo(text: str, *, err: bool = False) -> None:
    """Print lines as they are; characters from outside that would steer the terminal are shown, not sent."""
    typer.echo(visible(text), err=err)


def echo_json(value: Any) -> None:
    """Print JSON."""
    typer.echo(visible_json(value))


def cell(text: str, style: str = "") -> Text:
    """A cell of a table on one line, safe to print, nothing in it taken for markup."""
    return Text(visible(text, keep=""), style=style)


def pasteable(command: str, api: str | None = None) -> str:
    """A command that begins with watchkeeper as it can be pasted here: by the name this one was called by, to its API.

    api: the address that was given on the command line; commands that ask no API do without.
    """
    program, _, following = command.partition(" ")
    if program != "watchkeeper":
        return command
    asks = api is not None and following.partition(" ")[0] in ASKING
    return f"{called_by()} {following}{f' --api {api}' if asks else ''}"


def called_by() -> str:
    """What was typed to start this program: its name where the shell finds it by that, else its path."""
    typed = sys.argv[0]
    if Path(typed).name != "watchkeeper" or shutil.which("watchkeeper") == typed:
        return "watchkeeper"
    return typed
