"""Noise without faults, on which every firing is false: values of one series, in order."""

from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def white(rng: np.random.Generator, count: int) -> Values:
    """Gaussian."""
    return 50.0 + 2.0 * rng.standard_normal(count)


def ar1(rng: np.random.Generator, count: int, phi: float = 0.95) -> Values:
    """Autoregressive: today is nearly yesterday."""
    draws = rng.standard_normal(count) * np.sqrt(1 - phi * phi)
    draws[0] /= np.sqrt(1 - phi * phi)
    return 50.0 + 2.0 * np.fromiter(accumulate(draws, lambda last, draw: phi * last + draw), np.float64, count)


def seasonal(rng: np.random.Generator, count: int, period: float = 1440.0) -> Values:
    """A daily and a weekly wave under Gaussian noise."""
    turn = 2 * np.pi * np.arange(count) / period
    phase = rng.uniform(0, 2 * np.pi)
    waves: Values = 10.0 * np.sin(turn + phase) + 3.0 * np.sin(turn / 7)
    return 50.0 + waves + 2.0 * rng.standard_normal(count)


def heavy(rng: np.random.Generator, count: int, freedom: float = 3.0) -> Values:
    """Student's t: outliers are normal."""
    return np.asarray(50.0 + 2.0 * rng.standard_t(freedom, count))


def stepped(rng: np.random.Generator, count: int, every: float = 1000.0, size: float = 5.0) -> Values:
    """The level jumps now and then, for good."""
    jumps = rng.random(count) < 1.0 / every
    level = 2.0 * size * rng.standard_normal(int(jumps.sum()) + 1)
    return 50.0 + level[np.cumsum(jumps)] + 2.0 * rng.standard_normal(count)


NOISES: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "white": white,
    "ar1": ar1,
    "seasonal": seasonal,
    "heavy": heavy,
    "stepped": stepped,
}


def chunks(name: str, seed: int, series: int, length: int) -> Iterator[list[float]]:
    """So many series of so many samples of one noise, one at a time."""
    for index in range(series):
        yield NOISES[name](np.random.default_rng([seed, index, *name.encode()]), length).tolist()
