"""The stores on which simulated worlds play: the in-memory twin, and a real server with the clock turned."""

import bisect
from collections.abc import Iterator
from typing import Protocol

from app.bootstrap import check_store
from app.config import Settings
from app.services.faults import Unavailable
from app.services.queue import CommandLog, Entry, Stream
from app.storage import keys
from app.storage.backend import Backend, Reply
from app.storage.backends.memory import MemoryBackend, MemoryServer
from app.storage.backends.memory_values import entry_key, read_value, value_at
from app.storage.backends.valkey import ValkeyBackend, parse_entries
from app.storage.backends.valkey_async import AsyncCommandLog
from app.storage.pictures import Records
from app.storage.plan import Op, Plan
from tests.support.store import RealStore

PARTITIONS = 4
LEAST_TURN_MS = 250
TWIN_PAGE = 7


class Field(Protocol):
    """A store, and what a simulation needs of it beside the ports. `tool` is a line without faults."""

    tool: Backend

    def backend(self) -> Backend:
        """One more connection of a worker."""
        ...

    def command_log(self) -> CommandLog:
        """One more connection of a front end."""
        ...

    def check(self, seen_commits: int) -> int:
        """What a worker does before it works with the store."""
        ...

    def records(self) -> Records:
        """The store as an audit sees it."""
        ...

    def results(self, front_end: str) -> list[Entry]:
        """All answers that were ever given to a front end."""
        ...

    def pass_time(self, milliseconds: int) -> None:
        """Let the leases be that much older."""
        ...

    def empty(self) -> None:
        """Forget everything."""
        ...

    async def close(self) -> None:
        """End what this world has opened."""
        ...


class TwinField:
    """The twin; its clock is the clock of turns."""

    def __init__(self) -> None:
        self.empty()

    def backend(self) -> Backend:
        return MemoryBackend(self.server)

    def command_log(self) -> CommandLog:
        return TwinCommandLog(self)

    def check(self, seen_commits: int) -> int:
        return seen_commits

    def records(self) -> Records:
        return TwinRecords(self.server)

    def results(self, front_end: str) -> list[Entry]:
        stream = self.server.data.get(keys.results(front_end))
        return [stream.entries[place] for place in stream.order] if stream else []

    def pass_time(self, milliseconds: int) -> None:
        self.server.now += milliseconds

    def empty(self) -> None:
        self.server = MemoryServer()
        self.tool: Backend = MemoryBackend(self.server)

    async def close(self) -> None:
        """Nothing is open."""


class TwinCommandLog:
    """The CommandLog of the twin. A look at the answers never waits."""

    def __init__(self, field: TwinField) -> None:
        self._field = field
        self._backend = field.backend()

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        self._backend.append(messages)
        return [None] * len(messages)

    async def has_room(self) -> bool:
        return True

    async def heed_ops(self, front_end: str) -> bool:
        return False

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        stream = value_at(self._field.server, keys.results(front_end), "stream")
        start = bisect.bisect_right(stream.order, entry_key(cursor))
        return [stream.entries[place] for place in stream.order[start:]]


class TwinRecords(MemoryBackend):
    """The twin as an audit sees it."""

    def many(self, names: list[str]) -> list[bytes | None]:
        return [self.server.value(name) for name in names]

    def ranges(self, wanted: list[tuple[str, int, int]]) -> list[list[bytes]]:
        return [read_value(self.server, "LRANGE", name, list(places)) for name, *places in wanted]

    def scan(self, prefix: str) -> Iterator[list[str]]:
        yield [name for name in self.server.data if name.startswith(prefix)]

    def members(self, name: str) -> list[str]:
        return sorted(value_at(self.server, name, "set"))

    def page(self, cursor: str) -> tuple[str, list[str]]:
        names, first = sorted(self.server.data), int(cursor)
        following = first + TWIN_PAGE
        return str(following if following < len(names) else 0), names[first:following]

    def size(self) -> int:
        return len(self.server.data)

    def _read(self, plan: Plan, op: Op) -> Reply:
        if op[-1] != "WITHSCORES":
            return super()._read(plan, op)
        scores: dict[str, int] = value_at(self.server, plan.keys[int(op[1]) - 1], "zset")
        return [part for name, score in scores.items() for part in (name.encode(), b"%d" % score)]


# The server's clock cannot be turned, so what is compared with it is.
_AGE_LEASES = """
local by = tonumber(ARGV[1])
for i = 2, #KEYS do
  local till = redis.call('HGET', KEYS[i], 'until')
  if till then redis.call('HSET', KEYS[i], 'until', tonumber(till) - by) end
end
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('ZINCRBY', KEYS[1], -by, worker)
end
"""


class ServerField:
    """A real server. Leases grow old by the clock of turns, everything else by its own.

    Processes die here, not disks: the server writes its log, but does not wait until it is on the disk.
    """

    def __init__(self, store: RealStore) -> None:
        self._settings = Settings(redis_url=store.url, partitions=PARTITIONS, allow_weak_durability=True)
        self._url = store.url
        self._tool = ValkeyBackend(store.url)
        self._tool.call("CONFIG", "SET", "appendfsync", "no")
        self.tool: Backend = self._tool
        self._backends: list[ValkeyBackend] = []
        self._idle: list[ValkeyBackend] = []
        self._logs: list[AsyncCommandLog] = []
        self._owed_ms = 0

    def backend(self) -> Backend:
        backend = self._idle.pop() if self._idle else ValkeyBackend(self._url)
        backend.commits = 0
        self._backends.append(backend)
        return backend

    def command_log(self) -> CommandLog:
        log = AsyncCommandLog(self._url, self.check)
        self._logs.append(log)
        return log

    def check(self, seen_commits: int) -> int:
        return check_store(self._settings, seen_commits)

    def records(self) -> Records:
        return self._tool

    def results(self, front_end: str) -> list[Entry]:
        reply = self._tool.call("XREAD", "STREAMS", keys.results(front_end), "0-0")
        return parse_entries(reply[0][1]) if reply else []

    def pass_time(self, milliseconds: int) -> None:
        self._owed_ms += milliseconds
        if self._owed_ms >= LEAST_TURN_MS:
            names = [keys.WORKERS, *map(keys.partition, range(PARTITIONS))]
            self._tool.call("EVAL", _AGE_LEASES, len(names), *names, self._owed_ms)
            self._owed_ms = 0

    def empty(self) -> None:
        self._tool.call("FLUSHALL")
        self._owed_ms = 0

    async def close(self) -> None:
        for log in self._logs:
            await log.close()
        self._idle += self._backends
        self._logs.clear()
        self._backends.clear()
