"""The promise of the fast path, policy.slo: arrival to incident, at a subscriber, under load, with room."""

import pytest

from policy import load_policy
from tests.bench.latency import measure, quantile

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]

SLO = load_policy(None).default.slo
ROOM = 3.0
"""The promise must be kept this many times over, since a ship's machine may be this much slower."""


TRIES = 3
"""What else the machine does makes it slower, never faster: one of so many tries must keep the promise."""


@pytest.mark.parametrize(("rate", "per_message", "lines"), [(1000.0, 1, 1), (200.0, 50, 0)], ids=["single", "scrapes"])
def test_incidents_are_published_within_the_promised_time(rate: float, per_message: int, lines: int) -> None:
    said = []
    for _ in range(TRIES):
        seen = measure(rate, 20.0, per_message=per_message, lines=lines)
        assert len(seen.incidents) >= 20
        p95, p99 = (1000 * quantile(seen.incidents, percent) for percent in (95, 99))
        if p95 <= SLO.fast_path_p95_ms / ROOM and p99 <= SLO.fast_path_p99_ms / ROOM:
            return
        said.append(f"P95 {p95:.0f} ms, P99 {p99:.0f} ms")
    pytest.fail("; ".join(said))
