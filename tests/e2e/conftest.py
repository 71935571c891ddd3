from collections.abc import Iterator

import pytest

from tests.support.system import Ship, running


@pytest.fixture(scope="session")
def ship(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ship]:
    """One `watchkeeper up` on real input only, for all tests of the session."""
    with running(tmp_path_factory.mktemp("ship") / "data", "--no-demo", "--no-host-metrics") as up:
        yield up
