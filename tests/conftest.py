"""The fixtures of all tests: one real store and one real service per test session and process."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.service import RunningService, running_service
from tests.support.store import RealStore
from tests.support.telling import SOAK_SEED, Tell, choose_seed, seed_of, summary, told


def pytest_report_header() -> str:
    """With what the random loads of this run can be had again."""
    return f"{SOAK_SEED}={choose_seed()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the random loads hit, also those of a run that failed or was interrupted."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    if lines := summary((report.passed, report.user_properties) for report in reports):
        terminalreporter.section(f"random loads of {SOAK_SEED}={choose_seed()}")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What a random load is made from; the same test gets the same one with the same SOAK_SEED."""
    return seed_of(request.node.name)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Tells what a random load hit."""
    return lambda load, counts: record_property(*told(load, counts))


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
