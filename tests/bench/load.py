"""Samples of many series, made as cheaply as measuring allows, and the floors that River sets."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json
from river import stats, utils

from operators.decode.decoder import DecodeLimits, Decoder
from schemas.event import Event, RawMessage
from schemas.telemetry import MetricSample
from tests.bench.noise import NOISES

ROLLING = 300
"""Samples in the rolling window that stands for zscore's floor."""

START = datetime(2026, 3, 1, tzinfo=UTC)
IDENTITY = 0xABCDEF012345
Values = npt.NDArray[np.float64]
Primitive = Callable[[float], None]


def values_of(first: int, series: int, length: int, seed: int = 1) -> Values:
    """One row a series, each of one kind of noise in turn; the same series always has the same values."""
    kinds = list(NOISES)
    rows = [
        NOISES[kinds[number % len(kinds)]](np.random.default_rng([seed, number]), length)
        for number in range(first, first + series)
    ]
    return np.asarray(rows)


class Load:
    """Samples of `series` series, round by round: each round has one sample of every series.

    A round is built as what decode hands on: cheap() without validation, sharing the strings of a
    series, for those that are soon replaced; decoded() by the Decoder from JSON, as the state of a
    series keeps its latest.
    """

    def __init__(self, first: int, series: int, length: int, step: timedelta) -> None:
        self.names = [(f"device-{number // 10}", f"metric_{number % 10}") for number in range(first, first + series)]
        self._values = values_of(first, series, length)
        self._first = first
        self.step = step
        self._decoder = Decoder("ship-1", DecodeLimits())
        self._likes = [sample for _, sample in self.decoded(0)]

    def values(self, turn: int) -> list[float]:
        """The values of one round."""
        found: list[float] = self._values[:, turn].tolist()
        return found

    def cheap(self, turn: int) -> list[tuple[Event, MetricSample]]:
        """One round, each sample a copy of its series' first with what differs."""
        at = START + turn * self.step
        out = []
        for number, (like, value) in enumerate(zip(self._likes, self.values(turn), strict=True)):
            tracking_id = f"00000000-0000-8000-{turn:04x}-{self._first + number:012x}"
            new = {"tracking_id": tracking_id, "ts": at, "observed_at": at, "metric_value": value}
            sample = like.model_copy(update=new)
            out.append((Event((turn, number), at, sample), sample))
        return out

    def decoded(self, turn: int) -> Iterator[tuple[Event, MetricSample]]:
        """One round as decode makes it, each sample with strings of its own."""
        at = START + turn * self.step
        for number, ((device, metric), value) in enumerate(zip(self.names, self.values(turn), strict=True)):
            item = {"service": "bench", "metric_name": metric, "metric_value": value, "ts": at}
            raw = RawMessage(
                "TELEMETRY",
                IDENTITY,
                turn * 1_000_000 + number + 1,
                at,
                f"metrics.ingested.system.{device}",
                to_json(item),
            )
            for event in self._decoder.decode(raw):
                if not isinstance(event, Event) or not isinstance(event.body, MetricSample):
                    raise TypeError(f"expected a sample, decode gave {event}")
                yield event, event.body


def _plain(primitive: Any) -> Primitive:
    def update(value: float) -> None:
        primitive.update(value)
        primitive.get()

    return update


def core_fast_floor() -> list[Primitive]:
    """What River needs for an exponentially weighted mean and variance."""
    return [_plain(stats.EWMean(0.02)), _plain(stats.EWVar(0.001))]


def full_floor() -> list[Primitive]:
    """The nearest River primitive of each detector of `full`, see tests/bench/detectors.py."""
    rolling: Any = utils.Rolling(stats.Var, window_size=ROLLING)
    return [
        _plain(rolling),  # zscore
        *core_fast_floor(),  # ewma
        _plain(stats.RollingQuantile(0.5, 120)),  # mad
        *core_fast_floor(),  # seasonal
        _plain(stats.EWMean(0.02)),  # flat
        _plain(stats.Max()),  # record_surprise
        _plain(stats.Min()),
    ]


FLOORS: dict[str, Callable[[], list[Primitive]]] = {"core-fast": core_fast_floor, "full": full_floor}
