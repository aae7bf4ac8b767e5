"""How a command finds the store it reads: as configured, as a running service says, or at rest in DATA_DIR.

Must not start a server on a folder that somebody else uses.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from app.cli.supervisor import REFUSED, Child, Supervisor
from app.cli.target import running
from app.config import Settings
from app.services.faults import BalanceFault
from app.storage.auditing import partitions_of
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.embedded import EmbeddedStore, EmbeddedStoreError

_STORE = "store"

Result = TypeVar("Result")


class NoStoreError(click.ClickException):
    """The store cannot be read; the message says why."""

    exit_code = REFUSED


def with_store(settings: Settings, use: Callable[[str], Result]) -> Result:
    """Call `use` with the URL of the store.

    That is REDIS_URL, else the store of the service that runs on DATA_DIR; else the one at rest there, which
    runs, with the folder locked, until `use` returns. Raises NoStoreError where there is none.
    """
    found = running(settings.data_dir)
    if url := settings.redis_url or (found and found.redis_url):
        return use(url)
    with _locked(settings.data_dir) as lock:
        try:
            return asyncio.run(_use_at_rest(settings, lock, use))
        except EmbeddedStoreError as error:
            raise NoStoreError(str(error)) from error


def look_up(url: str, look: Callable[[AsyncConnection, int], Coroutine[Any, Any, Result]]) -> Result:
    """What `look` finds, given a connection and the store's number of partitions; raises NoStoreError."""

    async def connected(partitions: int) -> Result:
        connection = AsyncConnection(url)
        try:
            return await look(connection, partitions)
        finally:
            await connection.close()

    try:
        with closing(ValkeyBackend(url)) as backend:
            partitions = partitions_of(backend)
        return asyncio.run(connected(partitions))
    except BalanceFault as fault:
        raise NoStoreError(f"the store cannot be read: {fault}") from fault


@contextmanager
def _locked(data_dir: Path) -> Iterator[int]:
    """Hold the lock of a folder with a store at rest, so that no `balance up` starts on it."""
    if not (data_dir / _STORE).is_dir():
        raise NoStoreError(
            f"no service runs on DATA_DIR {data_dir} and it holds no store; REDIS_URL is not set"
        )
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, data_dir)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, data_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode()
        raise NoStoreError(
            f"DATA_DIR {data_dir} is in use (pid {owner}), but no service is ready there"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


async def _use_at_rest(settings: Settings, lock: int, use: Callable[[str], Result]) -> Result:
    store = EmbeddedStore.prepare(settings.data_dir, settings.store_memory_mb)
    # The child holds the lock too, and the supervisor sees to it that it ends with this process.
    child = Child(name=_STORE, argv=store.command(), env=os.environ, pass_fds=[lock])
    async with Supervisor() as supervisor:
        await supervisor.start(child)
        await store.wait_until_ready(alive=lambda: supervisor.restarts(_STORE) == 0)
        return await asyncio.to_thread(use, store.url)
    raise NoStoreError("interrupted")
