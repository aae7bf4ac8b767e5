"""The in-memory twin of the server: the same functions over dicts, for tests and for reading.

It holds the promises of functions/balance.lua (all or nothing, checks first, types), not its durability.
Several connections share one MemoryServer, each in its own thread.
"""

import bisect
import threading
from typing import Any

from app.services.faults import StoreRefused, StoreUnavailable
from app.services.queue import Entry, Lease, Stream
from app.storage import keys
from app.storage.backend import Reply
from app.storage.backends.memory_values import TYPE_OF, StreamValue, apply, bytes_of, entry_key, read_value
from app.storage.plan import Op, Plan

MAX_COUNTER_DIGITS = 18


class MemoryServer:
    """What the connections share: the keyspace, a clock that a test can set, and a switch to be away."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.data: dict[str, Any] = {}
        self.expires: dict[str, int] = {}
        self.now = now
        self.away = False
        self.changed = threading.Condition(threading.RLock())

    def value(self, key: str) -> Any:
        """The value at a key, or None; what is past its time is gone."""
        if self.expires.get(key, self.now + 1) <= self.now:
            self.data.pop(key, None)
            self.expires.pop(key, None)
        return self.data.get(key)


class MemoryBackend:
    """A Backend on a MemoryServer."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.commits = 0

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        """See Backend."""
        with self._reachable() as server:
            return server.now, [self._read(plan, op) for op in plan.reads]

    def commit(self, plan: Plan) -> list[int]:
        """See Backend."""
        with self._reachable() as server:
            failed = [index for index, check in enumerate(plan.checks, 1) if not self._holds(plan, check)]
            if failed:
                return failed
            types: dict[str, str] = {}
            for write in plan.writes:
                self._check_write(plan, write, types)
            for command, index, *args in plan.writes:
                self.commits = apply(server, str(command), plan.keys[int(index) - 1], args) or self.commits
            server.changed.notify_all()
            return []

    def acquire(
        self, worker: str, partitions: list[int], lease_ms: int, most: int
    ) -> tuple[int, list[Lease]]:
        """See Backend."""
        with self._reachable() as server:
            now = server.now
            leases: list[Lease] = []
            self._alive(worker, now + lease_ms)
            for partition in partitions:
                had = self._hash(keys.partition(partition))
                owner = had.get("owner", b"").decode()
                if len(leases) >= most or not (owner in ("", worker) or int(had.get("until", 0)) <= now):
                    continue
                epoch = int(had.get("epoch", 0)) + 1
                clean = had.get("clean") != b"0"
                leases.append(Lease(partition, epoch, clean, int(had.get("last_time", 0))))
                self._set(partition, owner=worker, epoch=epoch, until=now + lease_ms, clean=0)
            return now, leases

    def renew(self, worker: str, epochs: dict[int, int], lease_ms: int) -> tuple[list[int], list[str]]:
        """See Backend."""
        with self._reachable() as server:
            alive = self.server.data.setdefault(keys.WORKERS, {})
            for name in [name for name, till in alive.items() if till <= server.now]:
                del alive[name]
            self._alive(worker, server.now + lease_ms)
            lost = [
                partition for partition, epoch in epochs.items() if not self._owns(worker, partition, epoch)
            ]
            for partition in epochs.keys() - set(lost):
                self._set(partition, until=server.now + lease_ms)
            return lost, sorted(alive, key=lambda name: (alive[name], name))

    def release(self, worker: str, epochs: dict[int, int], *, leave: bool) -> None:
        """See Backend."""
        with self._reachable() as server:
            if leave:
                server.data.get(keys.WORKERS, {}).pop(worker, None)
            for partition, epoch in epochs.items():
                if self._owns(worker, partition, epoch):
                    self._set(partition, owner="", until=0, clean=1)

    def mark(self, partition: int, epoch: int, lane: str, place: str) -> int:
        """See Backend."""
        with self._reachable():
            had = self._hash(keys.partition(partition))
            if had.get("epoch") != bytes_of(epoch):
                return -1
            marked, _, count = had.get(f"trying|{lane}", b"").decode().rpartition(" ")
            if marked and marked > place:
                return 0
            times = int(count) + 1 if marked == place else 1
            self._set(partition, **{f"trying|{lane}": f"{place} {times}"})
            return times

    def append(self, messages: list[tuple[Stream, str]]) -> list[str]:
        """See PartitionQueue."""
        with self._reachable() as server:
            ids = [apply(server, "XADD", keys.queue(*stream), ["*", "m", text]) for stream, text in messages]
            server.changed.notify_all()
            return ids

    def take(self, cursors: dict[Stream, str], count: int, block_ms: int) -> dict[Stream, list[Entry]]:
        """See PartitionQueue."""
        with self._reachable() as server:
            found = self._behind(cursors, count)
            if not found and cursors:
                server.changed.wait(block_ms / 1000)
                found = self._behind(cursors, count)
            return found

    def close(self) -> None:
        """See Backend."""

    def _reachable(self) -> "_Session":
        return _Session(self.server)

    def _behind(self, cursors: dict[Stream, str], count: int) -> dict[Stream, list[Entry]]:
        found = {}
        for stream, cursor in cursors.items():
            value = self.server.value(keys.queue(*stream)) or StreamValue()
            start = bisect.bisect_right(value.order, entry_key(cursor))
            if entries := [value.entries[key] for key in value.order[start : start + count]]:
                found[stream] = entries
        return found

    def _read(self, plan: Plan, op: Op) -> Reply:
        command, index, *args = op
        return read_value(self.server, str(command), plan.keys[int(index) - 1], args)

    def _holds(self, plan: Plan, check: Op) -> bool:
        kind, index, *rest = check
        key = plan.keys[int(index) - 1]
        if kind == "absent":
            return self.server.value(key) is None
        found = read_value(self.server, "HGET", key, rest[:1])
        return (found if found is not None else b"0" if kind == "count" else b"") == bytes_of(rest[1])

    def _check_write(self, plan: Plan, write: Op, types: dict[str, str]) -> None:
        command, index, *args = write
        key = plan.keys[int(index) - 1]
        wanted = TYPE_OF[str(command)]
        value = self.server.value(key)
        if wanted != "any":
            found = types.get(key) or (type(value).__name__ if value is not None else wanted)
            if found != wanted:
                raise StoreRefused(f"REFUSED type of {key} is {found}")
            types[key] = wanted
        if command == "HINCRBY":
            counter = (value or {}).get(args[0], b"0").decode()
            if not counter.lstrip("-").isdigit() or len(counter.lstrip("-")) > MAX_COUNTER_DIGITS:
                raise StoreRefused(f"REFUSED counter {key} {args[0]}")

    def _hash(self, key: str) -> dict[str, bytes]:
        found: dict[str, bytes] = self.server.value(key) or {}
        return found

    def _set(self, partition: int, **fields: str | int) -> None:
        args = [part for name, value in fields.items() for part in (name, value)]
        apply(self.server, "HSET", keys.partition(partition), args)

    def _alive(self, worker: str, till: int) -> None:
        self.server.data.setdefault(keys.WORKERS, {})[worker] = till

    def _owns(self, worker: str, partition: int, epoch: int) -> bool:
        had = self._hash(keys.partition(partition))
        return had.get("owner") == worker.encode() and had.get("epoch") == bytes_of(epoch)


class _Session:
    """The server's lock, refused while it is away."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def __enter__(self) -> MemoryServer:
        self._server.changed.acquire()
        if self._server.away:
            self._server.changed.release()
            raise StoreUnavailable("the server is away")
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.changed.release()
