"""What every command needs: settings, errors in one line, and words that fit the terminal."""

import shutil
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer

from compose.errors import exit_code, known_cause
from operators.observability import configure_logging
from schemas.settings import Settings

T = TypeVar("T")

MAX_WIDTH: Final = 100
USUAL_WIDTH: Final = 80

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
    typer.echo(f"watchkeeper: {message}", err=True)
    raise typer.Exit(code)


def say(text: str, *, lead: str = "", err: bool = False) -> None:
    """Print a sentence, folded to the terminal's width under its lead; ids and commands are not broken."""
    width = min(shutil.get_terminal_size((USUAL_WIDTH, 24)).columns, MAX_WIDTH)
    folded = textwrap.fill(
        " ".join(text.split()),
        max(width, 40),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
    typer.echo(folded, err=err)


def advise(hint: str, following: str, *, err: bool = False) -> None:
    """Print what to do next: the command on one line, however long, for it is to be copied."""
    say(hint, lead="→ ", err=err)
    typer.echo(f"  watchkeeper {following}", err=err)
