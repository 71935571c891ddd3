"""The whole vessel flow in this process, on any source: what it found, and how long that took."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from bytewax.inputs import Source
from bytewax.testing import run_main

from compose.replay import CollectSink
from flows.vessel import vessel
from operators.observability import FlowMetrics
from policy import PolicySet, load_policy
from schemas.anomaly import AnomalyDetected
from schemas.event import Outgoing, RawMessage
from schemas.incident import IncidentPublished
from schemas.settings import Settings


class Firing(NamedTuple):
    """One finding from its beginning to its end (None while it goes on); seconds since 1970, event time."""

    anomaly: AnomalyDetected
    begin: float
    end: float | None


@dataclass
class Found:
    """Everything that the flow published about a source, in order.

    anomalies: each message, firing or cleared. openings: the revisions by which an incident was
    opened or opened again, each of which a person would be shown. revisions: all of them.
    """

    anomalies: list[AnomalyDetected] = field(default_factory=list)
    revisions: list[IncidentPublished] = field(default_factory=list)
    dead_letters: int = 0
    seconds: float = 0.0

    @property
    def openings(self) -> list[IncidentPublished]:
        """The revisions that opened an incident, or opened it again."""
        return [revision for revision in self.revisions if revision.event in ("created", "reopened")]

    @property
    def firings(self) -> list[Firing]:
        """Every finding with its end, by beginning."""
        return firings(self.anomalies)

    def take(self, message: Outgoing) -> None:
        """Keep one message that the flow publishes."""
        kind = message.subject.split(".")[1]
        if message.stream == "ANOMALIES" and kind == "detected":
            self.anomalies.append(AnomalyDetected.model_validate_json(message.data))
        elif message.stream == "INCIDENTS":
            self.revisions.append(IncidentPublished.model_validate_json(message.data))
        elif message.stream == "DEAD_LETTERS":
            self.dead_letters += 1


def firings(anomalies: Iterable[AnomalyDetected]) -> list[Firing]:
    """Each finding with its end: what clears a source ends everything that it has said."""
    out: list[Firing] = []
    going_on: dict[str, list[int]] = {}
    for anomaly in anomalies:
        at = anomaly.ts.timestamp()
        if anomaly.state == "firing":
            going_on.setdefault(anomaly.source, []).append(len(out))
            out.append(Firing(anomaly, at, None))
        else:
            for place in going_on.pop(anomaly.source, ()):
                out[place] = out[place]._replace(end=at)
    return out


def profile_policy(profile: str, risk: float | None = None) -> PolicySet:
    """The shipped policy with another profile in force (and outliers.risk), loaded as `--policy DIR` loads it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "policy.yaml").write_text(f"profile: {json.dumps(profile)}\n")
        if risk is not None:
            Path(folder, "detect.yaml").write_text(f"outliers: {{risk: {risk}}}\n")
        return load_policy(Path(folder))


def run_flow(source: Source[RawMessage], policy: PolicySet) -> Found:
    """Run the vessel flow to the end of a source, without NATS."""
    found = Found()
    began = perf_counter()
    run_main(vessel(source, CollectSink(found.take), policy, Settings(), FlowMetrics("bench")))
    found.seconds = perf_counter() - began
    return found
