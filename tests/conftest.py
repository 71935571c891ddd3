from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nats import Server


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Server]:
    """A running nats-server of this test's own."""
    server = Server(tmp_path / "nats").start()
    yield server
    server.kill()
