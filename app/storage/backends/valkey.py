"""The real backend: one connection of redis-py, nothing sent twice, every error translated."""

from collections.abc import Iterator
from typing import Any

import msgspec
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
from redis.exceptions import ResponseError
from redis.retry import Retry

from app.services.faults import StoreRefused, StoreUnavailable
from app.services.queue import Entry, Lease, Stream
from app.services.schedule import Slot, Task
from app.storage import keys, library
from app.storage.backend import Reply
from app.storage.backends.errors import is_no_primary, translate
from app.storage.backends.primary import Primary, require_primary
from app.storage.plan import Plan

SOCKET_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 1.0
OUT_OF_STEP = (
    "the connection is closed, or has a reply that nobody asked for: the next one would be another's"
)
REPLICAS_MS = 1_000
REPLICAS_AGAIN_MS = (10, 30, 90, 270, 810)
"""How long replicas are waited for until they have something, and then until it is on their disks."""
SCAN_COUNT = 500
"""Keys that the server looks at in one call of a scan."""

_pack = msgspec.msgpack.Encoder().encode


class ValkeyBackend:
    """A Backend on a Valkey or Redis server. Connects when first used, and again after an error.

    `commits` is the last commit counter this connection has seen. With `wait_replicas` a commit returns when
    so many replicas have it on disk: for those who answer somebody themselves, as workers do not.
    """

    def __init__(
        self, url: str, wait_replicas: int = 0, timeout_seconds: float = SOCKET_TIMEOUT_SECONDS
    ) -> None:
        self.commits = 0
        self._wait_replicas = wait_replicas
        self._primary = Primary(url, connection_options())
        self._connection: Any = _make_connection(self._primary.url, timeout_seconds)

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        """See Backend."""
        time, replies = self.call("FCALL_RO", library.READ, len(plan.keys), *plan.keys, _pack(plan.reads))
        return milliseconds(time), replies

    def commit(self, plan: Plan) -> list[int]:
        """See Backend."""
        checks, writes = _pack(plan.checks), _pack(plan.writes)
        reply = self.call("FCALL", library.COMMIT, len(plan.keys), *plan.keys, checks, writes)
        if isinstance(reply, list):
            return reply
        self.commits = reply
        if self._wait_replicas:
            self._wait_for_replicas()
        return []

    def acquire(
        self, worker: str, partitions: list[int], lease_ms: int, most: int
    ) -> tuple[int, list[Lease]]:
        """See Backend."""
        names = [keys.WORKERS, *map(keys.partition, partitions)]
        now, taken = self.call("FCALL", library.ACQUIRE, len(names), *names, worker, lease_ms, most)
        leases = [
            Lease(partition=partitions[index - 2], epoch=epoch, clean=bool(clean), last_time=last_time)
            for index, epoch, clean, last_time in taken
        ]
        return now, leases

    def renew(self, worker: str, epochs: dict[int, int], lease_ms: int) -> tuple[list[int], list[str]]:
        """See Backend."""
        partitions = list(epochs)
        names = [keys.WORKERS, *map(keys.partition, partitions)]
        args = (worker, lease_ms, *epochs.values())
        lost, workers = self.call("FCALL", library.RENEW, len(names), *names, *args)
        return [partitions[index - 2] for index in lost], [name.decode() for name in workers]

    def release(self, worker: str, epochs: dict[int, int], *, leave: bool) -> None:
        """See Backend."""
        names = [keys.WORKERS, *map(keys.partition, epochs)]
        self.call("FCALL", library.RELEASE, len(names), *names, worker, int(leave), *epochs.values())

    def mark(self, partition: int, epoch: int, lane: str, place: str) -> int:
        """See Backend."""
        count: int = self.call("FCALL", library.MARK, 1, keys.partition(partition), epoch, lane, place)
        return count

    def lead(self, name: str, lease_ms: int) -> tuple[int, int]:
        """See Backend."""
        now, epoch = self.call("FCALL", library.LEAD, 1, keys.SCHEDULER, name, lease_ms)
        return now, epoch

    def resign(self, name: str) -> None:
        """See Backend."""
        self.call("FCALL", library.RESIGN, 1, keys.SCHEDULER, name)

    def dispatch(self, epoch: int, slot: Slot, tasks: list[Task]) -> list[int] | None:
        """See Backend."""
        names = [keys.SCHEDULER, *(keys.task_queue(task.stream) for task in tasks)]
        packed = _pack([(index, *task[1:]) for index, task in enumerate(tasks, 2)])
        queued = self.call("FCALL", library.DISPATCH, len(names), *names, epoch, *slot, packed)
        return [index - 1 for index in queued] if isinstance(queued, list) else None

    def append(self, messages: list[tuple[Stream, str]]) -> list[str]:
        """See PartitionQueue."""
        commands = [("XADD", keys.queue(*stream), "*", "m", payload) for stream, payload in messages]
        replies = self._exchange(self._connection.pack_commands(commands), len(commands))
        return [entry_id.decode() for entry_id in replies]

    def take(self, cursors: dict[Stream, str], count: int, block_ms: int) -> dict[Stream, list[Entry]]:
        """See PartitionQueue."""
        if not cursors:
            return {}
        names = {keys.queue(*stream): stream for stream in cursors}
        block = ("BLOCK", block_ms) if block_ms else ()
        streams = self.call("XREAD", "COUNT", count, *block, "STREAMS", *names, *cursors.values()) or ()
        return {names[name.decode()]: parse_entries(entries) for name, entries in streams}

    def call(self, *command: Any) -> Reply:
        """Send one command and read its reply."""
        return self._exchange(self._connection.pack_command(*command), 1)[0]

    def many(self, names: list[str]) -> list[bytes | None]:
        """The texts at these keys, None where there is none; each of its own moment."""
        pages = (names[first : first + SCAN_COUNT] for first in range(0, len(names), SCAN_COUNT))
        return [text for page in pages for text in self.call("MGET", *page)]

    def ranges(self, wanted: list[tuple[str, int, int]]) -> list[list[bytes]]:
        """The elements of these lists from first to last index; each of its own moment."""
        commands = [("LRANGE", *each) for each in wanted]
        try:
            return self._exchange(self._connection.pack_commands(commands), len(commands)) if commands else []
        except StoreUnavailable as away:
            if "WRONGTYPE" in str(away):
                raise StoreRefused(str(away)) from away
            raise

    def scan(self, prefix: str) -> Iterator[list[str]]:
        """The names of all keys that begin with `prefix`, in pages; a name may come twice.

        Nothing is missing that is there from the first page to the last.
        """
        cursor = None
        while cursor != b"0":
            cursor, names = self.call("SCAN", cursor or b"0", "MATCH", f"{prefix}*", "COUNT", SCAN_COUNT)
            if names:
                yield [name.decode(errors="replace") for name in names]

    def page(self, cursor: str) -> tuple[str, list[str]]:
        """Some names of keys, and where to go on; it begins with "0", and is "0" again at the end."""
        following, names = self.call("SCAN", cursor, "COUNT", SCAN_COUNT)
        return following.decode(), [name.decode(errors="replace") for name in names]

    def members(self, name: str) -> list[str]:
        """The members of a set, those that are there all the time at least; a long one is read in pages."""
        cursor, found = None, set()
        while cursor != b"0":
            cursor, page = self.call("SSCAN", name, cursor or b"0", "COUNT", SCAN_COUNT)
            found.update(page)
        return sorted(member.decode(errors="replace") for member in found)

    def size(self) -> int:
        """How many keys there are."""
        count: int = self.call("DBSIZE")
        return count

    def close(self) -> None:
        """See Backend."""
        self._connection.disconnect()

    def _wait_for_replicas(self) -> None:
        """See `AsyncConnection.wait_for_replicas`: what was written is written, but may yet be lost."""
        on_disk = 0
        for wait in ("WAIT", REPLICAS_MS), *(("WAITAOF", 0, each) for each in REPLICAS_AGAIN_MS):
            *command, milliseconds = wait
            if not self._connection.is_connected:
                break  # another one has written nothing, and would be told so much
            reply = self.call(*command, self._wait_replicas, milliseconds)
            on_disk = reply[1] if isinstance(reply, list) else 0
            if on_disk >= self._wait_replicas:
                return
        raise StoreUnavailable(f"{on_disk} of {self._wait_replicas} replicas have it on disk")

    def _exchange(self, packed: Any, replies: int) -> list[Reply]:
        connection = self._connection
        try:
            self._connect()
            if connection.can_read():
                raise ConnectionError(OUT_OF_STEP)
            connection.send_packed_command(packed)
            answers = [self._read_one() for _ in range(replies)]
        except Exception as error:
            connection.disconnect()
            raise translate(error) from error
        for answer in answers:
            if isinstance(answer, Exception):
                if is_no_primary(answer):
                    connection.disconnect()
                fault = translate(answer)
                # Of several commands, what became of the others is for the caller to find out.
                raise (fault if replies == 1 else StoreUnavailable(str(fault))) from answer
        return answers

    def _connect(self) -> None:
        connection = self._connection
        if connection.is_connected or not self._primary.moves:
            return  # it connects by itself
        connection.host, connection.port = self._primary.locate()
        connection.connect()
        connection.send_command("ROLE")
        require_primary(connection.read_response())

    def _read_one(self) -> Reply:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error


def connection_options() -> dict[str, Any]:
    """What every connection to the store is made with: nothing is ever sent twice."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "protocol": 2,
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": 0,
    }


def parse_entries(entries: list[Any]) -> list[Entry]:
    """Stream entries of one field each; of what another hand has written, the first field's value."""
    return [Entry(entry_id.decode(), fields[1] if fields else b"") for entry_id, fields in entries]


def _make_connection(url: str, timeout_seconds: float) -> ConnectionInterface:
    pool = ConnectionPool.from_url(url, **connection_options() | {"socket_timeout": timeout_seconds})
    return pool.make_connection()


def milliseconds(time: list[bytes]) -> int:
    """The reply of TIME in ms since the epoch."""
    return int(time[0]) * 1000 + int(time[1]) // 1000
