"""What `watchkeeper plot` does: read a series, draw it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import NamedTuple, TextIO

from compose.api_client import api_client
from compose.launch import prepare_process
from compose.plot.build import SeriesData, build_plot
from compose.plot.errors import PlotError
from compose.plot.from_api import REMEDY, TIMEOUT_S, read_api_series
from compose.plot.from_captures import read_captures_series
from compose.plot.naming import read_times
from compose.plot.picture import draw_png, printable
from compose.plot.terminal import Look, draw_text
from policy import PolicySet
from schemas.settings import Settings

DEFAULT_WIDTH = 80
SAMPLE = "⠿│└─┬━"


class Request(NamedTuple):
    """What a person asked for, as it was typed."""

    name: str
    api: str | None = None
    captures: tuple[Path, ...] = ()
    ago: str | None = None
    since: str | None = None
    until: str | None = None
    png: Path | None = None


def draw(request: Request, policy: PolicySet, settings: Settings, out: TextIO, width: int | None = None) -> None:
    """Draw what was asked for on out, and into request.png if that is given.

    Raises:
        PlotError, CaptureError: when the request is wrong or fits nothing.
        ApiAwayError, PlotFailedError: when the API is away; when matplotlib is missing.
    """
    data = _read(request, policy, settings)
    plot = build_plot(data, policy.for_ship(data.ship_id))
    if request.png is not None:
        draw_png(plot, request.png)
    look = look_of(out, width)
    text = draw_text(plot, look) + "\n"
    if request.png is not None:
        text += f"\npicture: {printable(str(request.png))}\n"
    out.write(text if look.braille else text.encode("ascii", "replace").decode())


def _read(request: Request, policy: PolicySet, settings: Settings) -> SeriesData:
    times = read_times(request.ago, request.since, request.until)
    name = request.name.strip().strip("/")
    if not name:
        raise PlotError("name is empty: expected a series such as vsat-1/modem/rf_snr_db, or the id of an anomaly")
    if request.captures and request.api is not None:
        raise PlotError("--api and --capture exclude each other: give one of them")
    if request.captures:
        prepare_process()
        return read_captures_series(name, request.captures, times, policy, settings)
    api = api_client(settings, request.api, TIMEOUT_S, REMEDY)
    return read_api_series(name, api, times, lambda: datetime.now(UTC))


def look_of(out: TextIO, width: int | None) -> Look:
    """How to write there: the terminal's width and colours if it is one, braille if its encoding has it."""
    is_terminal = out.isatty()
    if width is None:
        width = get_terminal_size((DEFAULT_WIDTH, 24)).columns if is_terminal else DEFAULT_WIDTH
    return Look(width, _carries(out), is_terminal and "NO_COLOR" not in os.environ)


def _carries(out: TextIO) -> bool:
    try:
        SAMPLE.encode(getattr(out, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
