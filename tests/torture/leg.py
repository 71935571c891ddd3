"""One leg: the parts run under load, something is killed again and again, and then everything is counted."""

import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.parts import Parts, parts_in
from tests.torture.load import message
from tests.torture.producer import Producer
from tests.torture.reckoning import ENVIRONMENT, Result, drain, reckon

LEAST_S, MOST_S = 0.3, 4.0
"""After a start something lives for so long: the least is within its own start."""


class Leg(NamedTuple):
    """What is killed, how often, all at once or one of them; apart: detect and correlate in the vessel's place."""

    name: str
    victims: tuple[str, ...]
    kills: int
    at_once: bool = False
    apart: bool = False

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows that run."""
        return ("detect", "correlate", "archive") if self.apart else ("vessel", "archive")


def run_leg(leg: Leg, seed: int, folder: Path, rate: float) -> Result:
    """Run one leg in an empty folder."""
    begun = time.monotonic()
    with parts_in(folder, embedded=True, environment=ENVIRONMENT) as parts:
        for flow in leg.flows:
            parts.start_flow(flow)
        producer = Producer(parts.nats.url, partial(message, seed), rate)
        producer.start()
        _torment(leg, parts, random.Random(f"{seed}:{leg.name}"), producer)
        producer.end()
        drain(leg.flows, parts)
        revisions = parts.nats.last_sequence("INCIDENTS")
        audit = reckon(leg.flows, parts, producer)
    seconds = time.monotonic() - begun
    return Result(leg.name, seed, len(producer.ledger), revisions, audit, seconds, {"kills": leg.kills})


def _torment(leg: Leg, parts: Parts, draw: random.Random, producer: Producer) -> None:
    """Kill at random moments, also while something starts; every fifth time it may come to rest first."""
    for number in range(leg.kills):
        if number % 5 == 0:
            _settle(leg, parts)
            producer.wait_for(500)
        time.sleep(draw.uniform(LEAST_S, MOST_S))
        victims = leg.victims if leg.at_once else (draw.choice(leg.victims),)
        for victim in victims:
            parts.nats.kill() if victim == "nats" else parts.kill(victim)
        for victim in victims:
            parts.nats.start() if victim == "nats" else parts.start_flow(victim, wait=False)
        _say(f"{leg.name}: kill {number + 1} of {leg.kills} ({', '.join(victims)}), {len(producer.ledger)} sent")
    _settle(leg, parts)
    producer.wait_for(2000)


def _settle(leg: Leg, parts: Parts) -> None:
    for flow in leg.flows:
        parts.wait_ready(flow)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
