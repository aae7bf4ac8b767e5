"""A front end's bus on a real store, with a log that remembers what was sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from app.bootstrap import check_store
from app.domain.commands import Deposit
from app.domain.outcomes import Answer
from app.queueing.bus import Bus
from app.services.faults import Unavailable
from app.services.queue import Stream
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncCommandLog, AsyncConnection
from tests.support.carrying import PARTITIONS, id_in
from tests.support.grounds import read
from tests.support.store import Located
from tests.support.waiting import soon
from tests.support.workers import settings_for

ANNA = id_in(1)
LONG_MS = 20_000


class WatchedLog(AsyncCommandLog):
    """The real log; what was appended in each round trip is remembered."""

    def __init__(self, store: Located, wait_replicas: int) -> None:
        self.reading = AsyncConnection(store.url)
        check = partial(check_store, settings_for(store))
        super().__init__(store.url, check, wait_replicas, [self.reading])
        self.rounds: list[list[tuple[Stream, str]]] = []

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        self.rounds.append(messages)
        return await super().append(messages)

    @property
    def sizes(self) -> list[int]:
        """How many commands each message carried."""
        return [len(msgspec.json.decode(text)["args"][0]) for each in self.rounds for _, text in each]


class FrontEnd:
    """A bus with its log, as one front-end process has them."""

    def __init__(self, store: Located, max_waiting: int, wait_replicas: int = 0) -> None:
        self.log = WatchedLog(store, wait_replicas)
        self.bus = Bus(self.log, partitions=PARTITIONS, max_waiting=max_waiting)

    def deposit(
        self, key: str, account_id: str = ANNA, amount: int = 1, timeout_ms: int = LONG_MS
    ) -> "asyncio.Task[Answer]":
        """A call in a task of its own, as a server would make it."""
        command = Deposit(account_id=account_id, amount=amount)
        return asyncio.create_task(self.bus.execute(command, key=key, timeout_ms=timeout_ms))


@asynccontextmanager
async def front_end(
    store: Located, max_waiting: int = 10_000, wait_replicas: int = 0
) -> AsyncIterator[FrontEnd]:
    """A running front end that has found the store."""
    found = FrontEnd(store, max_waiting, wait_replicas)
    found.bus.start()
    try:
        await soon(lambda: found.bus.available)
        yield found
    finally:
        await found.bus.close()
        await found.log.close()
        await found.log.reading.close()


def ledger_keys(backend: ValkeyBackend, account_id: str = ANNA, partition: int = 1) -> list[str]:
    """The keys of the account's deposits, in the order in which they were applied."""
    (elements,) = read(backend, ("LRANGE", keys.ledger(partition, account_id, 0), 0, -1))
    return [msgspec.json.decode(element.partition(b" ")[2])["idempotencyKey"] for element in elements]
