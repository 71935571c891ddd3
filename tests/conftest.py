from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.nats import Server


@pytest.fixture(autouse=True)
def logs_go_nowhere_else() -> Iterator[None]:
    """What a test configures ends with it: its captured stderr is closed by then."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Server]:
    """A running nats-server of this test's own."""
    server = Server(tmp_path / "nats").start()
    yield server
    server.kill()
