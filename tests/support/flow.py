"""The vessel flow over messages in memory, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.recovery import RecoveryConfig
from bytewax.testing import run_main

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.observability import FlowMetrics
from policy import PolicySet, load_policy
from schemas.event import Outgoing
from schemas.settings import Settings

SETTINGS = Settings(ship_id="aurora", detect_slots=8)


def run_vessel(
    source: Any,
    *,
    policy: PolicySet | None = None,
    recovery: Path | None = None,
    take: Callable[[Outgoing], None] | None = None,
    **run: Any,
) -> list[Outgoing]:
    """Run the flow to the end of the source; what it published, in order."""
    out: list[Outgoing] = []
    flow = vessel(source, CollectSink(take or out.append), policy or load_policy(None), SETTINGS, FlowMetrics("test"))
    run_main(flow, recovery_config=RecoveryConfig(str(recovery)) if recovery else None, **run)
    return out


def first_of_each(messages: list[Outgoing]) -> dict[str, bytes]:
    """What a stream keeps: the first message of each Nats-Msg-Id."""
    kept: dict[str, bytes] = {}
    for message in messages:
        kept.setdefault(f"{message.stream}/{message.msg_id}", message.data)
    return kept
