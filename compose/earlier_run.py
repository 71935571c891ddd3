"""What an earlier run of a flow has left in the streams it publishes to."""

import threading
from typing import Final

from operators.jetstream import NatsConfig, stream_states
from schemas.settings import Settings

OUTPUTS: Final = {"vessel": ("ANOMALIES", "INCIDENTS", "DEAD_LETTERS", "OPS"), "correlate": ("INCIDENTS", "OPS")}
"""Streams that a flow alone publishes to. (INSIGHTS has others too, several detect may share ANOMALIES, and the
archive publishes nothing.)"""


def traces_of(flow: str, settings: Settings, stop: threading.Event) -> str | None:
    """What shows that this flow has published before; None when nothing does. Waits for NATS until stop is set.

    A stream's last sequence stays when its messages go, so what it says does not age.

    Raises:
        NatsError: when NATS refuses us, has no such stream, or stop was set before it could be reached.
    """
    for state in stream_states(NatsConfig.of(settings), OUTPUTS.get(flow, ()), stop=stop) if OUTPUTS.get(flow) else ():
        if state.last > 0:
            return f"stream {state.name} holds what this flow published earlier (up to message {state.last})"
    return None
