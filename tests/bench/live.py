"""A producer that sends telemetry at a steady rate, in a process of its own; it says how well it kept to it.

`python -m tests.bench.live URL SERIES PER_MESSAGE LINES FAULTS_EVERY RATE SECONDS` publishes RATE messages a
second, each with the time of its sending as event time. It prints Sent as JSON at the end.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import nats

from tests.bench.telemetry_load import ShipLoad
from tests.support.nats import Server

TURN_S = 0.005
BEHIND_S = 1.0


class Sent(NamedTuple):
    """messages sent, in so many seconds; late_s: how far behind its schedule the producer fell at most."""

    messages: int
    seconds: float
    late_s: float


async def produce(url: str, load: ShipLoad, rate: float, seconds: float) -> Sent:
    """Send at that rate; what is due is sent every 5 ms."""
    client = await nats.connect(url, pending_size=64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    begun, sent, late = loop.time(), 0, 0.0
    total = int(rate * seconds)
    while sent < total:
        due = min(total, int((loop.time() - begun) * rate) + 1)
        for number in range(sent, due):
            message = load.message(number, datetime.now(UTC))
            await client.publish(message.subject, message.data)
        await client.flush()
        sent = due
        ahead = begun + sent / rate - loop.time()
        late = max(late, -ahead)
        await asyncio.sleep(max(TURN_S, ahead))
    took = loop.time() - begun
    await client.close()
    return Sent(sent, took, late)


def start(
    server: Server,
    series: int,
    rate: float,
    seconds: float,
    *,
    per_message: int = 1,
    lines: int = 1,
    faults_every: int = 0,
) -> subprocess.Popen[str]:
    """Start a producer; its rate is that of messages."""
    words = [server.url, *map(str, (series, per_message, lines, faults_every, rate, seconds))]
    return subprocess.Popen([sys.executable, "-m", "tests.bench.live", *words], stdout=subprocess.PIPE, text=True)


def sent_by(child: subprocess.Popen[str]) -> Sent:
    """Wait for a producer to end; what it has sent."""
    said, _ = child.communicate(timeout=900)
    if child.returncode:
        raise RuntimeError(f"the producer ended with {child.returncode}, see its log above")
    return Sent(*json.loads(said))


def main(arguments: Sequence[str]) -> int:
    """The child."""
    url, series, per_message, lines, faults_every, rate, seconds = arguments
    load = ShipLoad(int(series), per_message=int(per_message), lines=int(lines), faults_every=int(faults_every))
    sys.stdout.write(json.dumps(asyncio.run(produce(url, load, float(rate), float(seconds)))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
