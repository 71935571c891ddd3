"""What makes a simulated sensor look real: noise with memory and the rhythm of the day."""

import math
import random
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Wander:
    """Noise with memory (AR(1)): each value is phi of the last plus a normal step.

    sigma is the standard deviation of the values themselves. State: one number.
    Source: Box, Jenkins, Reinsel, Time Series Analysis, 4th ed., section 3.2.3.
    """

    rng: random.Random
    sigma: float
    phi: float = 0.8
    value: float = 0.0

    def next(self) -> float:
        """The next value, around 0."""
        step = self.sigma * math.sqrt(1.0 - self.phi**2)
        self.value = self.phi * self.value + self.rng.gauss(0.0, step)
        return self.value


def daily(t: datetime, peak_hour: float = 15.0) -> float:
    """The rhythm of the day: 1 at the peak hour (UTC), -1 twelve hours off."""
    hour = t.hour + t.minute / 60 + t.second / 3600
    return math.cos((hour - peak_hour) / 24 * 2 * math.pi)


def ramp(progress: float, rise: float) -> float:
    """From 0 to 1 over the first part (rise) of a fault, then 1.

    >>> ramp(0.1, 0.2), ramp(0.9, 0.2)
    (0.5, 1.0)
    """
    return min(progress / rise, 1.0)
