"""Every ground for the suites: the twin, the packaged server, and redis-server where it is on the PATH."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain import decide as deciding
from app.domain.commands import Payout
from app.domain.rules import accounts
from tests.support.carrying import Carrier
from tests.support.grounds import Ground, RealGround, RedisStore, TwinGround
from tests.support.store import RealStore

REDIS_SERVER = shutil.which("redis-server")
GROUNDS = ["memory", "valkey", *(["redis"] if REDIS_SERVER else [])]


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    """The session's redis-server: the oldest server that is supported is the one Debian ships."""
    assert REDIS_SERVER is not None
    store = RedisStore(tmp_path_factory.mktemp("redis"), Path(REDIS_SERVER))
    store.start()
    yield store
    store.stop()


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest) -> Ground:
    """One empty server after the other."""
    return TwinGround() if request.param == "memory" else _real_ground(request)


@pytest.fixture(params=GROUNDS[1:])
def real_ground(request: pytest.FixtureRequest) -> RealGround:
    """One empty real server after the other."""
    return _real_ground(request)


@pytest.fixture
def carrier(ground: Ground) -> Carrier:
    """The owner of all partitions."""
    return Carrier(ground.backend())


def _real_ground(request: pytest.FixtureRequest) -> RealGround:
    if request.param == "valkey":
        return RealGround(request.getfixturevalue("real_store"))
    store: RealStore = request.getfixturevalue("redis_process")
    store.empty()
    return RealGround(store)


@pytest.fixture
def broken_payouts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Payouts meet a fault of ours until this is called."""

    def broken(*_: object) -> Any:
        raise ZeroDivisionError("canary")

    rules: dict[Any, Any] = deciding._RULES
    monkeypatch.setitem(rules, Payout, broken)
    return lambda: monkeypatch.setitem(rules, Payout, accounts.payout)
