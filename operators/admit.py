"""admit: policy.ingest and policy.privacy decide what goes on, and in which form."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import bytewax.operators as op
from bytewax.dataflow import Stream, operator

from operators.observability import FlowMetrics
from operators.redact import Redactor, redactor_of
from policy import PolicySet
from schemas.base import Level
from schemas.event import Batch, Event
from schemas.telemetry import LogMessage, MetricSample

Labels = tuple[tuple[str, str], ...]

_body = itemgetter(Event._fields.index("body"))


@dataclass(frozen=True)
class Rules:
    """What admit needs of one ship's policy."""

    min_level: Level
    line_bytes: int
    redactor: Redactor


class Admitter:
    """Drops log lines below the minimum level, cuts long ones and redacts the rest.

    Of a sample the labels are redacted; everything else passes untouched. Keeps no state (but remembers
    what becomes of the last 10,000 sets of labels, which are few).
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._labels = lru_cache(maxsize=10_000)(self._redacted_labels)

    def admit(self, line: LogMessage) -> tuple[LogMessage | None, Counter[str]]:
        """The line as it goes on, or None when it is dropped; and what was redacted in it."""
        if line.level.rank < self.rules.min_level.rank:
            return None, Counter()
        msg, found = self.rules.redactor.text(line.msg)
        meta = line.meta
        if meta:
            meta, in_meta = self.rules.redactor.value(meta)
            found += in_meta
        cut = _cut(msg, self.rules.line_bytes)
        if cut is not msg:
            meta = {**meta, "msg_bytes": len(msg.encode())}
        if cut == line.msg and meta == line.meta:
            return line, found
        return line.model_copy(update={"msg": cut, "meta": meta}), found

    def relabel(self, sample: MetricSample) -> tuple[MetricSample | None, Counter[str]]:
        """The sample with its labels redacted, and what was; series that differed by that become one."""
        labels, found = self._labels(tuple(sample.labels.items()))
        return (sample.model_copy(update={"labels": dict(labels)}) if found else sample), found

    def _redacted_labels(self, labels: Labels) -> tuple[Labels, Counter[str]]:
        clean, found = self.rules.redactor.value(dict(labels))
        return tuple(clean.items()), found


def _cut(text: str, limit: int) -> str:
    """The text, at most limit bytes of UTF-8 long."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode()
    return text if len(data) <= limit else data[:limit].decode("utf-8", errors="ignore")


def rules_of(policy: PolicySet, ship_id: str) -> Rules:
    """The rules that policy sets for a ship."""
    ingest = policy.for_ship(ship_id).ingest
    return Rules(ingest.min_level, ingest.max_line_bytes, redactor_of(policy, ship_id))


@operator
def admit(step_id: str, up: Stream[Batch], *, policy: PolicySet, metrics: FlowMetrics) -> Stream[Batch]:
    """Let pass what policy admits; what is dropped or redacted is counted by reason or kind. Stateless."""
    admitter = lru_cache(maxsize=1000)(lambda ship_id: Admitter(rules_of(policy, ship_id)))

    def checked(event: Event) -> Event | None:
        body = event.body
        admitted: LogMessage | MetricSample | None
        if isinstance(body, MetricSample):
            admitted, redacted = admitter(body.ship_id).relabel(body)
        elif isinstance(body, LogMessage):
            admitted, redacted = admitter(body.ship_id).admit(body)
        else:
            return event
        for kind, count in redacted.items():
            metrics.redacted.labels(kind).inc(count)
        if admitted is None:
            metrics.dropped.labels("level").inc()
            return None
        return event if admitted is body else event._replace(body=admitted)

    def pass_on(batch: Batch) -> Batch:
        kinds = Counter(map(type, map(_body, batch)))
        for kind, count in kinds.items():
            metrics.events.labels(kind.__name__).inc(count)
        out = []
        for event in batch:
            body = event.body
            # nothing to do for a sample without labels, and most have none
            if type(body) is MetricSample and not body.labels:
                out.append(event)
            elif (passed := checked(event)) is not None:
                out.append(passed)
        return out

    return op.map("pass_on", up, pass_on)
