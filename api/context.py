"""What the routes need: the reader, the settings, the policy and the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from policy import PolicySet
from schemas.settings import Settings

Clock = Callable[[], datetime]
"""Gives the time of day: aware, UTC."""

Row = dict[str, Any]


class Reader(Protocol):
    """Reads ClickHouse; called from several threads at once."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows of one query, times aware and in UTC.

        Raises:
            ClickHouseError: when ClickHouse is away, too slow, or refuses the query.
        """


@dataclass(frozen=True)
class ApiContext:
    """Everything that a route is given; one for the life of the app."""

    reader: Reader
    settings: Settings
    policy: PolicySet
    clock: Clock


async def get_context(request: Request) -> ApiContext:
    """The context of the app that serves this request."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(get_context)]
