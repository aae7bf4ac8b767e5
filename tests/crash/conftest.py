"""The stores on which simulated evenings are played: the twin, and a server that belongs to these tests."""

from collections.abc import Iterator

import pytest

from tests.support.playing_fields import Field, ServerField, TwinField
from tests.support.store import RealStore


@pytest.fixture(scope="session")
def server_field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerField]:
    """A server of its own, since it is set not to wait for its disk."""
    store = RealStore(tmp_path_factory.mktemp("field"))
    store.start()
    yield ServerField(store)
    store.stop()


@pytest.fixture
def field(request: pytest.FixtureRequest) -> Field:
    """The twin or the server, as the test's parameter says."""
    found: Field = TwinField() if request.param == "twin" else request.getfixturevalue("server_field")
    return found
