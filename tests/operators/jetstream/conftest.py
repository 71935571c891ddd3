import threading
from collections.abc import Iterator

import pytest

from operators.observability import FlowMetrics


@pytest.fixture
def metrics() -> FlowMetrics:
    return FlowMetrics("test")


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
