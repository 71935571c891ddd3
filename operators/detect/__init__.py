"""detect: anomalies in metrics and logs, one algorithm a file."""

from operators.detect.operator import detect

__all__ = ["detect"]
