"""enrich: context and severity for anomalies; everything else passes untouched, in order."""

from operators.enrich.context import ContextSource, open_context, try_context
from operators.enrich.operator import Enricher, enrich
from operators.enrich.recorded import RecordedContexts, record_contexts
from operators.enrich.severity import judge

__all__ = [
    "ContextSource",
    "Enricher",
    "RecordedContexts",
    "enrich",
    "judge",
    "open_context",
    "record_contexts",
    "try_context",
]
