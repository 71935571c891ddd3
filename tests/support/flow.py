"""The vessel flow over messages in memory, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig
from bytewax.testing import run_main
from bytewax.visualize import to_rendered

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.observability import FlowMetrics
from policy import PolicySet, load_policy
from schemas.event import Outgoing, RawMessage
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


class _Nothing(StatefulSourcePartition[RawMessage, None]):
    def next_batch(self) -> list[RawMessage]:
        raise StopIteration

    def snapshot(self) -> None:
        return None


class Nothing(FixedPartitionedSource[RawMessage, None]):
    """A source without messages."""

    def list_parts(self) -> list[str]:
        return ["none"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Nothing:
        return _Nothing()


def stateful_steps(flow: Dataflow) -> list[str]:
    """The ids of the steps that may keep state, in order."""
    kinds = ("input", "stateful_batch", "output")
    return [step.step_id for step in _walk(to_rendered(flow).substeps) if step.op_type in kinds]


def _walk(operators: Any) -> Any:
    for operator in operators:
        yield operator
        yield from _walk(operator.substeps)
