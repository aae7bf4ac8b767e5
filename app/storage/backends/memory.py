"""The in-memory twin of the server: the same functions over dicts, for tests and for reading.

It holds the promises of functions/balance.lua (all or nothing, checks first, types), not its durability.
Several connections share one MemoryServer, each in its own thread.
"""

import bisect
import threading
from typing import Any

from app.services.faults import StoreRefused, StoreUnavailable
from app.services.queue import Entry, Lease, Stream
from app.services.schedule import Slot, Task
from app.storage import keys
from app.storage.backend import Reply
from app.storage.backends.memory_values import (
    apply,
    bytes_of,
    entry_key,
    fault_of,
    read_value,
    value_at,
)
from app.storage.plan import Op, Plan


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
            types: dict[str, str] = {}
            checks = enumerate(plan.checks, 1)
            failed = [index for index, check in checks if not self._holds(plan, check, types)]
            if failed:
                return failed
            writes = [
                (str(command), plan.keys[int(index) - 1], args) for command, index, *args in plan.writes
            ]
            for command, key, args in writes:
                if fault := fault_of(server, command, key, args, types):
                    raise StoreRefused(f"REFUSED {fault}")
            for command, key, args in writes:
                self.commits = apply(server, command, key, args)
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
                owner, till = had.get("owner", b"").decode(), int(had.get("until", 0))
                if len(leases) >= most:
                    break
                if owner not in ("", worker) and till > now:
                    self._set(partition, until=min(till, now + lease_ms))  # the clock was set back
                    continue
                epoch = int(had.get("epoch", 0)) + 1
                clean = had.get("clean") != b"0"
                leases.append(Lease(partition, epoch, clean, int(had.get("last_time", 0))))
                self._set(partition, owner=worker, epoch=epoch, until=now + lease_ms, clean=0)
            return now, leases

    def renew(self, worker: str, epochs: dict[int, int], lease_ms: int) -> tuple[list[int], list[str]]:
        """See Backend."""
        with self._reachable() as server:
            had = value_at(server, keys.WORKERS, "zset")
            apply(server, "ZREM", keys.WORKERS, [name for name, till in had.items() if till <= server.now])
            for name in [name for name, till in had.items() if till > server.now + lease_ms]:
                self._alive(name, server.now + lease_ms)  # the clock was set back
            self._alive(worker, server.now + lease_ms)
            lost = [
                partition for partition, epoch in epochs.items() if not self._owns(worker, partition, epoch)
            ]
            for partition in epochs.keys() - set(lost):
                self._set(partition, until=server.now + lease_ms)
            return lost, [name.decode() for name in read_value(server, "ZRANGE", keys.WORKERS, [0, -1])]

    def release(self, worker: str, epochs: dict[int, int], *, leave: bool) -> None:
        """See Backend."""
        with self._reachable() as server:
            if leave:
                apply(server, "ZREM", keys.WORKERS, [worker])
            for partition, epoch in epochs.items():
                if self._owns(worker, partition, epoch):
                    self._set(partition, owner="", until=0, clean=1)

    def mark(self, partition: int, epoch: int, lane: str, place: str) -> int:
        """See Backend."""
        with self._reachable():
            had = self._hash(keys.partition(partition))
            if had.get("epoch") != bytes_of(epoch):
                return -1
            marked, _, count = had.get(keys.trying_field(lane), b"").decode().rpartition(" ")
            if marked and marked > place:
                return 0
            times = int(count) + 1 if marked == place else 1
            self._set(partition, **{keys.trying_field(lane): f"{place} {times}"})
            return times

    def lead(self, name: str, lease_ms: int) -> tuple[int, int]:
        """See Backend."""
        with self._reachable() as server:
            had = self._hash(keys.SCHEDULER)
            leader, epoch = had.get("leader", b"").decode(), int(had.get("epoch", 0))
            if leader != name:
                if leader and (till := int(had.get("until", 0))) > server.now:
                    self._note(until=min(till, server.now + lease_ms))  # the clock was set back
                    return server.now, 0
                epoch += 1
                self._note(leader=name, epoch=epoch, since=server.now)
            self._note(until=server.now + lease_ms)
            return server.now, epoch

    def resign(self, name: str) -> None:
        """See Backend."""
        with self._reachable():
            if self._hash(keys.SCHEDULER).get("leader") == name.encode():
                self._note(leader="", until=0)

    def dispatch(self, epoch: int, slot: Slot, tasks: list[Task]) -> list[int] | None:
        """See Backend."""
        with self._reachable() as server:
            had = self._hash(keys.SCHEDULER)
            if had.get("epoch") != bytes_of(epoch):
                return None
            queued = [index for index, task in enumerate(tasks) if self._may_follow(task, had)]
            if int(had.get(keys.slot_field(slot.job), 0)) < slot.time:
                apply(server, "HINCRBY", keys.SCHEDULER, [keys.missed_field(slot.job), slot.missed])
                self._note(**{keys.slot_field(slot.job): slot.time})
            for task in (tasks[index] for index in queued):
                entry_id = apply(server, "XADD", keys.task_queue(task.stream), ["*", "m", task.message])
                self._note(**{f"sent|{task.name}": f"{task.place} {entry_id}"})
            server.changed.notify_all()
            return queued

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
            if cursors and not found and block_ms:
                server.changed.wait_for(lambda: self._behind(cursors, count), timeout=block_ms / 1000)
                found = self._behind(cursors, count)
            return found

    def close(self) -> None:
        """See Backend."""

    def _reachable(self) -> "_Session":
        return _Session(self.server)

    def _behind(self, cursors: dict[Stream, str], count: int) -> dict[Stream, list[Entry]]:
        found = {}
        for stream, cursor in cursors.items():
            value = value_at(self.server, keys.queue(*stream), "stream")
            start = bisect.bisect_right(value.order, entry_key(cursor))
            if entries := [value.entries[key] for key in value.order[start : start + count]]:
                found[stream] = entries
        return found

    def _read(self, plan: Plan, op: Op) -> Reply:
        command, index, *args = op
        return read_value(self.server, str(command), plan.keys[int(index) - 1], args)

    def _holds(self, plan: Plan, check: Op, types: dict[str, str]) -> bool:
        kind, index, *rest = check
        key = plan.keys[int(index) - 1]
        if kind == "absent":
            return self.server.value(key) is None
        types[key] = "hash"
        found = read_value(self.server, "HGET", key, rest[:1])
        return (found if found is not None else b"0" if kind == "count" else b"") == bytes_of(rest[1])

    def _hash(self, key: str) -> dict[str, bytes]:
        found: dict[str, bytes] = value_at(self.server, key, "hash")
        return found

    def _set(self, partition: int, **fields: str | int) -> None:
        args = [part for name, value in fields.items() for part in (name, value)]
        apply(self.server, "HSET", keys.partition(partition), args)

    def _may_follow(self, task: Task, had: dict[str, bytes]) -> bool:
        """Whether the last task of that name is gone from its queue, and had an earlier place."""
        place, _, entry_id = had.get(f"sent|{task.name}", b"").decode().rpartition(" ")
        stream = value_at(self.server, keys.task_queue(task.stream), "stream")
        return (not entry_id or entry_key(entry_id) not in stream.entries) and place < task.place

    def _note(self, **fields: str | int) -> None:
        apply(self.server, "HSET", keys.SCHEDULER, [part for pair in fields.items() for part in pair])

    def _alive(self, worker: str, till: int) -> None:
        apply(self.server, "ZADD", keys.WORKERS, [till, worker])

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
