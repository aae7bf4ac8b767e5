"""The grounds on which one suite tries every Backend: the in-memory twin, and a real server."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from app.storage import keys
from app.storage.backend import Backend, Reply
from app.storage.backends.memory import MemoryBackend, MemoryServer
from app.storage.backends.memory_values import StreamValue, type_of
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from tests.support.store import RealStore
from tests.support.waiting import eventually

PARTITIONS = 4


class Kept(NamedTuple):
    """What the server keeps at one key; `expires_at` is ms since the epoch, 0 for never."""

    type: str
    value: Any
    expires_at: int = 0


Dump = dict[str, Kept]
Write = tuple[str | int, ...]
"""A write of a plan: command, key, arguments."""


class Ground(Protocol):
    """A server with an empty keyspace, and what a test can do to it beside using a Backend."""

    def backend(self) -> Backend:
        """Make one more connection."""
        ...

    def unreachable(self) -> Backend:
        """Make a connection to a server that is not there."""
        ...

    def dump(self) -> Dump:
        """Return the whole keyspace."""
        ...

    def pass_time(self, milliseconds: int) -> None:
        """Return when the server's clock is that much further."""
        ...

    def someone_waits(self) -> bool:
        """Tell whether a connection is blocked in a read."""
        ...


class TwinGround:
    """The twin: its clock is set, not waited for."""

    def __init__(self) -> None:
        self.server = MemoryServer()

    def backend(self) -> Backend:
        return MemoryBackend(self.server)

    def unreachable(self) -> Backend:
        server = MemoryServer()
        server.away = True
        return MemoryBackend(server)

    def dump(self) -> Dump:
        server = self.server
        alive = [key for key in list(server.data) if server.value(key) is not None]
        return {
            key: Kept(type_of(server.data[key]), _copy(server.data[key]), server.expires.get(key, 0))
            for key in alive
        }

    def pass_time(self, milliseconds: int) -> None:
        self.server.now += milliseconds

    def someone_waits(self) -> bool:
        with self.server.changed:
            return bool(self.server.changed._waiters)  # type: ignore[attr-defined]


class RealGround:
    """A real server: time passes by itself."""

    def __init__(self, store: RealStore) -> None:
        self._store = store
        self._onlooker = store.backend()
        self._onlooker.call("DEL", keys.META)  # as empty as the twin

    def backend(self) -> Backend:
        return self._store.backend()

    def unreachable(self) -> Backend:
        return ValkeyBackend("unix:///nowhere/store.sock")

    def dump(self) -> Dump:
        return {key.decode(): self._kept(key) for key in self._onlooker.call("KEYS", "*")}

    def pass_time(self, milliseconds: int) -> None:
        until = self._now() + milliseconds
        eventually(lambda: self._now() >= until, within_seconds=milliseconds / 1000 + 5)

    def someone_waits(self) -> bool:
        return b"blocked_clients:0" not in self._onlooker.call("INFO", "clients")

    def empty(self) -> None:
        """Forget all records, for the next round of a random test."""
        self._onlooker.call("FLUSHALL")

    def _now(self) -> int:
        return self._onlooker.read(Plan())[0]

    def _kept(self, key: bytes) -> Kept:
        kind: str = self._onlooker.call("TYPE", key).decode()
        expires_at = max(self._onlooker.call("PEXPIRETIME", key), 0)
        return Kept(kind, _READERS[kind](self._onlooker, key), expires_at)


class RedisStore(RealStore):
    """The same for another server binary, such as Debian's redis-server."""

    def __init__(self, folder: Path, binary: Path) -> None:
        super().__init__(folder)
        self._embedded = type(self._embedded)(
            binary=binary,
            folder=self._embedded.folder,
            socket=self._embedded.socket,
            memory_bytes=self._embedded.memory_bytes,
        )


def plan_of(*writes: Write, reads: Iterable[Write] = ()) -> Plan:
    """A plan of these reads, or of these writes followed by the commit counter's."""
    plan = Plan()
    for command, key, *args in reads:
        plan.read(str(command), str(key), *args)
    for command, key, *args in writes:
        plan.write(str(command), str(key), *args)
    if writes:
        plan.write("HINCRBY", keys.META, "commits", 1)
    return plan


def write(backend: Backend, *writes: Write) -> None:
    """Commit these writes."""
    assert backend.commit(plan_of(*writes)) == []


def read(backend: Backend, *reads: Write) -> list[Reply]:
    """Return the replies to these reads."""
    return backend.read(plan_of(reads=reads))[1]


def _copy(value: Any) -> Any:
    if isinstance(value, StreamValue):
        return [(value.entries[key].entry_id, value.entries[key].payload) for key in value.order]
    return value if isinstance(value, bytes) else value.copy()


def _pairs(flat: list[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


_READERS: dict[str, Any] = {
    "hash": lambda server, key: _pairs(server.call("HGETALL", key)),
    "list": lambda server, key: server.call("LRANGE", key, 0, -1),
    "string": lambda server, key: server.call("GET", key),
    "set": lambda server, key: {member.decode() for member in server.call("SMEMBERS", key)},
    "zset": lambda server, key: {
        member: int(score)
        for member, score in _pairs(server.call("ZRANGE", key, 0, -1, "WITHSCORES")).items()
    },
    "stream": lambda server, key: [
        (entry_id.decode(), fields[1]) for entry_id, fields in server.call("XRANGE", key, "-", "+")
    ],
}
