"""Noise that must not fire: five kinds, in two flavours each, one column a stream."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KINDS = ("white", "ar1", "seasonal", "heavy-tailed", "stepped")
CHUNK = 2000


def noise(kind: str, streams: int, interval_s: float, seed: int) -> Iterator[Floats]:
    """Samples of all streams of a kind, one array an instant, for ever; half of the streams have each flavour.

    white: around 0, around 50. ar1: coefficient 0.9, 0.99. seasonal: a daily sine of 10 noise deviations,
    with and without a weekend. heavy-tailed: Student t with 3 degrees of freedom, log-normal.
    stepped: a new level after 500 samples on average, anywhere in 20 noise deviations or one of 0, 10, 25, 40.
    """
    draw = np.random.default_rng([seed, KINDS.index(kind)])
    first = np.arange(streams) < streams // 2
    make = {"white": _white, "ar1": _ar1, "seasonal": _seasonal, "heavy-tailed": _heavy, "stepped": _stepped}[kind]
    return make(draw, first, interval_s)


def _normal(draw: np.random.Generator, streams: int) -> Iterator[Floats]:
    while True:
        yield from draw.standard_normal((CHUNK, streams))


def _white(draw: np.random.Generator, first: NDArray[np.bool_], interval_s: float) -> Iterator[Floats]:
    centre, scale = np.where(first, 0.0, 50.0), np.where(first, 1.0, 2.0)
    for z in _normal(draw, len(first)):
        yield centre + scale * z


def _ar1(draw: np.random.Generator, first: NDArray[np.bool_], interval_s: float) -> Iterator[Floats]:
    keep = np.where(first, 0.9, 0.99)
    state = draw.standard_normal(len(first)) / np.sqrt(1.0 - keep**2)
    for z in _normal(draw, len(first)):
        state = keep * state + z
        yield 50.0 + state


def _seasonal(draw: np.random.Generator, first: NDArray[np.bool_], interval_s: float) -> Iterator[Floats]:
    for i, z in enumerate(_normal(draw, len(first))):
        at = i * interval_s
        wave = 10.0 * np.sin(2.0 * np.pi * at / 86_400.0)
        is_weekend = at // 86_400.0 % 7.0 >= 5.0
        yield 50.0 + wave * np.where(first, 1.0, 1.5 if is_weekend else 1.0) + z


def _heavy(draw: np.random.Generator, first: NDArray[np.bool_], interval_s: float) -> Iterator[Floats]:
    half = int(first.sum())
    while True:
        student = 50.0 + draw.standard_t(3.0, (CHUNK, half))
        log_normal = np.exp(draw.standard_normal((CHUNK, len(first) - half)))
        yield from np.concatenate([student, log_normal], axis=1)


def _stepped(draw: np.random.Generator, first: NDArray[np.bool_], interval_s: float) -> Iterator[Floats]:
    few = np.array([0.0, 10.0, 25.0, 40.0])
    count = len(first)
    level = np.where(first, draw.uniform(0.0, 20.0, count), draw.choice(few, count))
    normal = _normal(draw, count)
    while True:
        for steps in draw.random((CHUNK, count)) < 1.0 / 500.0:
            if steps.any():
                fresh = np.where(first, draw.uniform(0.0, 20.0, count), draw.choice(few, count))
                level = np.where(steps, fresh, level)
            yield 50.0 + level + next(normal)
