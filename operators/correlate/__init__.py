"""correlate: anomalies of one situation become one incident, one concern a file."""

from operators.correlate.operator import correlate

__all__ = ["correlate"]
