"""The fixtures of all tests: one real store and one real service per test session and process."""

from collections.abc import Iterator

import pytest

from tests.support.service import RunningService, running_service
from tests.support.store import RealStore


@pytest.fixture(scope="session")
def store_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    """The session's Valkey."""
    store = RealStore(tmp_path_factory.mktemp("store"))
    store.start()
    yield store
    store.stop()


@pytest.fixture
def real_store(store_process: RealStore) -> RealStore:
    """The session's Valkey, empty and laid out for 4 partitions."""
    store_process.empty()
    return store_process


@pytest.fixture(scope="session")
def service() -> Iterator[RunningService]:
    """The whole service, shared by the tests of a session: use account ids of your own."""
    with running_service() as running:
        yield running
