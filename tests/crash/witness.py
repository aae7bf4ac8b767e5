"""A witness with a line of its own to the store: what is queued, who owns what, what the ledgers say."""

import asyncio
import re
from ast import literal_eval
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis

from app.domain.identifiers import partition_of
from app.storage import keys, library

PARTITIONS = 16
POLL_SECONDS = 0.01

_NUMBER_OF = {keys.partition(number): number for number in range(PARTITIONS)}
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class Ownership(NamedTuple):
    """Who owns a partition, under which epoch, and until when (ms since the epoch) if nothing is renewed."""

    owner: str
    epoch: int
    until: int


class Entry(msgspec.Struct, rename="camel"):
    """What is looked at in a ledger entry. `timestamp` in ms since the epoch."""

    account_id: str
    transaction_id: str
    command_id: str
    timestamp: int

    @property
    def partition(self) -> int:
        """The account's, with which the ids of its transactions begin."""
        return int(self.transaction_id.partition("-")[0])


class Witness:
    """Reads the store past the service, and changes nothing."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._redis.aclose()

    async def queued(self) -> frozenset[str]:
        """The ids of the commands that wait in a queue or are being carried out."""
        queues = (keys.queue(number, "interactive") for number in range(PARTITIONS))
        return frozenset(
            envelope["commandId"]
            for messages in await self._each("XRANGE", queues, "-", "+")
            for _, fields in messages
            for envelope in msgspec.json.decode(fields[b"m"])["args"][0]
        )

    async def ownerships(self) -> list[Ownership]:
        """The ownership of each partition, in order."""
        found = await self._each("HMGET", _NUMBER_OF, "owner", "epoch", "until")
        return [Ownership(owner.decode(), int(epoch), int(until)) for owner, epoch, until in found]

    async def left(self, owners: Collection[str]) -> None:
        """Wait until one of these owners owns no partition any more."""
        await self._until(lambda owned: not owned.keys() >= set(owners))

    async def shared_by(self, workers: int) -> list[Ownership]:
        """Wait until so many workers own all partitions in equal shares; the ownership of each partition."""
        share = PARTITIONS // workers
        return await self._until(lambda owned: "" not in owned and set(owned.values()) == {share})

    async def _until(self, enough: Callable[[Counter[str]], bool]) -> list[Ownership]:
        """Wait until the number of partitions by owner is as wanted."""
        while True:
            found = await self.ownerships()
            if enough(Counter(each.owner for each in found)):
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def ledgers(self, accounts: Iterable[str]) -> list[list[Entry]]:
        """The ledger of each account."""
        return [[entry async for entry in self._ledger(account_id)] for account_id in accounts]

    async def _ledger(self, account_id: str) -> AsyncIterator[Entry]:
        partition = partition_of(account_id, PARTITIONS)
        for segment in count():
            name = keys.ledger(partition, account_id, segment)
            elements: list[bytes] = await self._redis.execute_command("LRANGE", name, 0, -1)
            if not elements:
                return
            for element in elements:
                yield msgspec.json.decode(element.partition(b" ")[2], type=Entry)

    async def _each(self, command: str, names: Iterable[str], *arguments: Any) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.execute_command(command, name, *arguments)
            return list(await pipeline.execute())


@asynccontextmanager
async def tapped(redis_url: str) -> AsyncIterator[list[bytes]]:
    """All that anyone tells the store while the block runs, a line each."""
    reader, writer = await asyncio.open_unix_connection(urlsplit(redis_url).path, limit=2**24)
    writer.write(b"MONITOR\r\n")
    await reader.readline()  # OK: from here on nothing is missed
    lines: list[bytes] = []

    async def listen() -> None:
        while line := await reader.readline():
            lines.append(line)

    listening = asyncio.create_task(listen())
    try:
        yield lines
    finally:
        listening.cancel()
        writer.close()


def commits(lines: Iterable[bytes]) -> Iterator[dict[int, int]]:
    """For each commit in what was tapped: under which epoch it is made, by partition."""
    for line in lines:
        words = [literal_eval(f'b"{word.decode("latin-1")}"') for word in _WORD.findall(line)]
        if words[:2] == [b"FCALL", library.COMMIT.encode()]:
            names = [name.decode() for name in words[3 : 3 + int(words[2])]]
            checks = msgspec.msgpack.decode(words[3 + len(names)])
            yield {
                _NUMBER_OF[names[key - 1]]: int(expected[0])
                for _, key, field, *expected in ([*check, ""] for check in checks)
                if field == "epoch"
            }
