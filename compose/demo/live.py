"""The simulated ship in real time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from compose.demo.ship import DemoShip, Telemetry

STEP: Final = timedelta(seconds=1)
CATCH_UP: Final = timedelta(seconds=30)


class LiveShip:
    """Steps the ship once for each second that has passed, its inventory first.

    Up to 30 missed seconds are caught up; after a longer sleep it goes on from now. State: the next
    second.
    """

    def __init__(self, ship: DemoShip) -> None:
        self.ship = ship
        self._next: datetime | None = None

    def produce(self, now: datetime) -> Sequence[Telemetry]:
        """What the ship has sent since the last call."""
        sent: list[Telemetry] = []
        if self._next is None:
            sent += self.ship.inventory()
        if self._next is None or now - self._next > CATCH_UP:
            self._next = now.replace(microsecond=0)
        while self._next <= now:
            sent += self.ship.step(self._next)
            self._next += STEP
        return sent
