"""What can go wrong with a plot, by whose fault it is."""

from compose.locks import ComposeError
from schemas.settings import SettingsError


class PlotError(SettingsError):
    """An argument is wrong or fits nothing; the message says which and what to do."""


class PlotFailedError(ComposeError):
    """Something that a plot needs is away or missing; the message says what, and what to do."""
