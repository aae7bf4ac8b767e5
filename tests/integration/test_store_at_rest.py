"""The store at rest in a data folder: it runs for one command, and whatever happens it rests again."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from app.cli.store import NoStoreError, with_store
from app.config import Settings
from app.storage.backends.valkey import ValkeyBackend
from tests.support.store import RealStore


@pytest.fixture
def at_rest(tmp_path: Path) -> Settings:
    """The settings of a folder whose store has been used, and is stopped."""
    store = RealStore(tmp_path).start()
    store.empty()
    store.stop()
    return Settings(data_dir=tmp_path)


def assert_rests(settings: Settings) -> None:
    """Nobody holds the lock: neither us nor a server that was left behind."""
    with (settings.data_dir / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_it_runs_while_it_is_used(at_rest: Settings) -> None:
    """The result is the user's; meanwhile nobody else can take the folder."""

    def use(url: str) -> bytes:
        with pytest.raises(NoStoreError, match=rf"in use \(pid {os.getpid()}\)"):
            with_store(at_rest, lambda _: None)
        pong: bytes = ValkeyBackend(url).call("PING")
        return pong

    assert with_store(at_rest, use) == b"PONG"
    assert_rests(at_rest)


def test_an_error_of_its_user_is_the_callers(at_rest: Settings) -> None:
    """It goes through, and the store stops all the same."""

    def use(url: str) -> None:
        raise LookupError(url)

    with pytest.raises(LookupError, match="unix://"):
        with_store(at_rest, use)
    assert_rests(at_rest)


def test_an_interrupt_is_no_result(at_rest: Settings) -> None:
    """Whoever presses Ctrl-C stops the store, and with it what still asks it."""

    def use(url: str) -> None:
        backend = ValkeyBackend(url)
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            backend.call("PING")

    with pytest.raises(NoStoreError, match="interrupted"):
        with_store(at_rest, use)
    assert_rests(at_rest)
