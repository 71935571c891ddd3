"""One metric series: its detectors, fed in event-time order."""

from typing import Any

from operators.detect.choose import Detector
from operators.detect.finding import Finding
from operators.detect.threshold import Threshold
from policy.detect_metrics import MetricRule
from schemas.telemetry import MetricSample

LATE_RUN = 20


class MetricSeries:
    """One series: feeds its detectors in event-time order and keeps what an anomaly must name.

    A sample older than the last one taken is late and changes nothing; after 20 late ones in a row
    the device's clock has been set back, and its new time counts. orphans: detectors that fired under
    a policy that had them, to be cleared. State: that of the detectors and the latest sample.
    """

    def __init__(self, detectors: list[Detector], rule: MetricRule, sample: MetricSample) -> None:
        self.detectors = detectors
        self.rule = rule
        self.last: MetricSample = sample
        self.orphans: list[Detector] = []
        self._last_at: float | None = None
        self._late_run = 0

    def update(self, sample: MetricSample) -> list[tuple[Detector, Finding]] | None:
        """The findings that this sample brings; None when it is late."""
        at = sample.ts.timestamp()
        if self._last_at is not None and at < self._last_at and self._late_run < LATE_RUN:
            self._late_run += 1
            return None
        if sample.tracking_id == self.last.tracking_id and self._last_at is not None:
            return None
        self._late_run = 0
        self._last_at = at
        self.last = sample
        value = sample.metric_value
        return [
            (detector, finding)
            for detector in self.detectors
            if (finding := detector.machine.update(at, value)) is not None
        ]

    def firing(self) -> list[Detector]:
        """The detectors that have fired and not yet cleared."""
        return [detector for detector in self.detectors if detector.machine.firing]

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "last": self.last.model_dump(),
            "last_at": self._last_at,
            "late_run": self._late_run,
            "orphans": [_name(detector) for detector in self.orphans],
            "detectors": {_name(detector): detector.machine.snapshot() for detector in self.detectors},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot; a detector that fired and that policy no longer sets becomes an orphan."""
        self._last_at = state["last_at"]
        self._late_run = state["late_run"]
        known = {_name(detector): detector for detector in self.detectors}
        gone = [name for name, saved in state["detectors"].items() if name not in known and saved["firing"]]
        self.orphans = [_orphan(name) for name in [*state["orphans"], *gone]]
        for name, saved in state["detectors"].items():
            if name in known:
                known[name].machine.restore(saved)


def _name(detector: Detector) -> str:
    return f"{detector.kind}:{detector.rule}" if detector.rule else detector.kind


def _orphan(name: str) -> Detector:
    """A detector by its name in a snapshot, only to say that it has cleared."""
    kind, _, rule = name.partition(":")
    anomaly_type = "metric_threshold" if kind == "threshold" else "metric_outlier"
    return Detector(kind, anomaly_type, rule or None, None, None, Threshold(above=0.0))
