"""The server for front ends, on asyncio: the command log, and reads. Nothing is ever sent twice."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ResponseError

from app.services.faults import Overloaded, StoreUnavailable, StoreUnfit, Unavailable
from app.services.queue import Entry, Stream
from app.storage import keys, library
from app.storage.backend import Reply
from app.storage.backends.errors import is_no_primary, translate
from app.storage.backends.primary import PRIMARY, Primary, require_primary
from app.storage.backends.valkey import (
    OUT_OF_STEP,
    REPLICAS_AGAIN_MS,
    REPLICAS_MS,
    SOCKET_TIMEOUT_SECONDS,
    connection_options,
    milliseconds,
    parse_entries,
)
from app.storage.plan import Plan
from app.storage.writing import RESULTS_KEPT_SECONDS

ADMISSION_MEMORY_SHARE = 80
"""Per cent of the store's memory limit beyond which no new command is queued (HAZARDS 1)."""

APPEND_SECONDS = 2.0
"""A store that has not taken messages by then hangs: whether it will take them is not known."""
LISTEN_SECONDS = 2.0
"""Longer than a wait for answers: beyond it the store hangs, and commands are refused."""
RESULTS_AT_ONCE = 200
"""Commits whose answers come in one reply: with each the event loop stands still until all are taken in."""

FRONT_END_ALIVE_MS = 5_000
"""How long ops see a front end after it last looked at the store, which it does every second."""

_pack = msgspec.msgpack.Encoder().encode


def _heed_cancellation() -> None:
    """Raise the cancellation that redis-py's `wait_for` swallows before Python 3.12 when it has just sent."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _from_a_replica(replies: list[Reply]) -> bool:
    return any(isinstance(reply, ResponseError) and is_no_primary(reply) for reply in replies)


class AsyncConnection:
    """One connection; calls take turns. An exchange that fails, or takes too long, closes it.

    What it commits is on the disks of `wait_replicas` replicas before it says so.
    """

    def __init__(
        self, url: str, timeout_seconds: float = SOCKET_TIMEOUT_SECONDS, *, wait_replicas: int = 0
    ) -> None:
        self._primary = Primary(url, connection_options())
        options = connection_options() | {"retry": Retry(NoBackoff(), 0), "socket_timeout": timeout_seconds}
        pool = ConnectionPool.from_url(self._primary.url, **options)
        self._connection: AbstractConnection = pool.make_connection()
        self._turn = asyncio.Lock()
        self._suspect = False
        self._wait_replicas = wait_replicas
        self.number = 0
        """Grows with each connecting: what was told under one number came from one server."""

    async def exchange(self, commands: list[tuple[Any, ...]], number: int = 0) -> list[Reply]:
        """The replies, in order; a ResponseError stands where the server refused a command.

        With a number it must be that very connection. Raises Unavailable when nothing was sent,
        StoreUnavailable when what became of it is not known.
        """
        async with self._turn:
            connection = self._connection
            try:
                if self._suspect:
                    await connection.disconnect(nowait=True)
                    self._suspect = False
                if number and not (connection.is_connected and number == self.number):
                    raise ConnectionError("the connection was lost")
                await self._connect()
                if await connection.can_read():
                    raise ConnectionError(OUT_OF_STEP)
            except BaseException as error:
                await connection.disconnect(nowait=True)
                if isinstance(error, Exception):
                    raise Unavailable(str(error)) from error
                raise
            try:
                await connection.send_packed_command(connection.pack_commands(commands))
                _heed_cancellation()
                replies = [await self._read_one() for _ in commands]
            except BaseException as error:
                await connection.disconnect(nowait=True)
                if isinstance(error, Exception):
                    raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
                raise
            if _from_a_replica(replies):
                await connection.disconnect(nowait=True)
            return replies

    async def call(self, *command: Any) -> Reply:
        """One command's reply. Raises StoreUnavailable or StoreRefused."""
        try:
            reply = (await self.exchange([command]))[0]
        except Unavailable as error:
            raise StoreUnavailable(str(error)) from error
        if isinstance(reply, ResponseError):
            raise translate(reply) from reply
        return reply

    async def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        """The server's time (ms) and the replies to the plan's reads, all of one moment."""
        time, replies = await self.call(
            "FCALL_RO", library.READ, len(plan.keys), *plan.keys, _pack(plan.reads)
        )
        return milliseconds(time), replies

    async def look(self, plan: Plan) -> tuple[int, list[Reply]]:
        """As `read`, for a caller who is told when the store is away: raises Unavailable or StoreRefused."""
        try:
            return await self.read(plan)
        except StoreUnavailable as away:
            raise Unavailable(str(away)) from away

    async def commit(self, plan: Plan) -> list[int]:
        """Apply the plan's writes, all or nothing; the indexes of the checks that failed, [] when applied.

        Raises Unavailable or Overloaded when nothing was written, StoreUnavailable when that is not known.
        """
        checks, writes = _pack(plan.checks), _pack(plan.writes)
        call = ("FCALL", library.COMMIT, len(plan.keys), *plan.keys, checks, writes)
        reply = (await self.exchange([call]))[0]
        if isinstance(reply, OutOfMemoryError):
            raise Overloaded(str(reply))
        if isinstance(reply, ResponseError):
            raise Unavailable(str(reply))
        if isinstance(reply, list):
            return reply
        if self._wait_replicas:
            try:
                await self.wait_for_replicas(self._wait_replicas, self.number)
            except Unavailable as lost:
                raise StoreUnavailable(str(lost)) from lost
        return []

    async def confirm(self) -> None:
        """Return when all that was read here is on the replicas' disks, where there have to be some.

        The server waits for the last write of a connection, so one is made: it stands behind what was read.
        Raises Unavailable, or StoreUnavailable when it is not known.
        """
        if self._wait_replicas:
            plan = Plan()
            plan.write("HINCRBY", keys.META, "commits", 1)
            await self.commit(plan)

    async def wait_for_replicas(self, replicas: int, number: int) -> None:
        """Return when the last write of the connection of that number is on the disks of so many replicas.

        Raises StoreUnavailable when it is not after some two seconds.
        """
        # A replica that is asked as soon as it has the write has not flushed it yet. It sends what it answers
        # when it has: so what it says when asked once more is the truth, and it need not be asked often.
        have = await self._counted("WAIT", replicas, REPLICAS_MS, number=number)
        on_disk = 0
        for again_ms in REPLICAS_AGAIN_MS if have >= replicas else ():
            _, on_disk = await self._counted("WAITAOF", 0, replicas, again_ms, number=number)
            if on_disk >= replicas:
                return
        raise StoreUnavailable(f"{on_disk} of {replicas} replicas have it on disk")

    async def _counted(self, *command: Any, number: int) -> Reply:
        (reply,) = await self.exchange([command], number)
        if isinstance(reply, ResponseError):
            raise translate(reply) from reply
        return reply

    def suspect(self) -> None:
        """The server was out of sight: connect anew before anything is sent."""
        self._suspect = True

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _connect(self) -> None:
        connection: Any = self._connection
        if connection.is_connected:
            return
        self.number += 1
        if not self._primary.moves:
            await connection.connect()
            return
        connection.host, connection.port = await asyncio.to_thread(self._primary.locate)
        await connection.connect()
        await connection.send_command("ROLE")
        require_primary(await connection.read_response())

    async def _read_one(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class AsyncCommandLog:
    """Implements `app.services.queue.CommandLog`.

    `check_store` is run, in a thread, before the first answer is waited for and again after every loss of the
    connection: it takes the highest commit counter seen so far and gives the present one. An answer is given
    out once its commit is on the disks of so many replicas as `wait_replicas` says, and a commit counts as
    seen by then: what a primary has alone may be lost with it, and nobody was told. `beside` are connections
    for reads: where this one has to look for the primary anew, so do they.
    """

    def __init__(
        self,
        url: str,
        check_store: Callable[[int], int],
        wait_replicas: int = 0,
        beside: Sequence[AsyncConnection] = (),
        connect: Callable[[str, float], AsyncConnection] = AsyncConnection,
    ) -> None:
        self._appending = connect(url, APPEND_SECONDS)
        self._listening = connect(url, LISTEN_SECONDS)
        self._check_store = check_store
        self._wait_replicas = wait_replicas
        self._all = (self._appending, self._listening, *beside)
        self._fit = False
        self._seen_commits = 0

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        """See CommandLog."""
        commands = [("XADD", keys.queue(*stream), "*", "m", payload) for stream, payload in messages]
        replies = await self._appending.exchange(commands)
        if _from_a_replica(replies):
            self._lose_sight()
        return [Unavailable(str(reply)) if isinstance(reply, ResponseError) else None for reply in replies]

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        """See CommandLog."""
        try:
            await self._ensure_fit()
            block = ("BLOCK", block_ms) if block_ms else ()
            stream = keys.results(front_end)
            count = ("COUNT", RESULTS_AT_ONCE)
            reply = await self._listening.call("XREAD", *count, *block, "STREAMS", stream, cursor)
            if not reply and block_ms and await self._is_forgotten(stream, cursor):
                reply = await self._listening.call("XREAD", *count, "STREAMS", stream, "0-0")
            if reply and self._wait_replicas:
                await self._wait_for_replicas(front_end)
        except BaseException:
            self._lose_sight()
            raise
        return parse_entries(reply[0][1]) if reply else []

    def _lose_sight(self) -> None:
        """The server is away, or no primary any more: it is looked for anew, and checked."""
        self._fit = False
        for connection in self._all:
            connection.suspect()

    async def _wait_for_replicas(self, front_end: str) -> None:
        """Return when what was just read is on the replicas' disks; raises StoreUnavailable when it is not.

        The server waits for the last write of a connection. So the answers are given some more time, on the
        very connection that has read them: that write comes after their commit, in the same server's log.
        What fails here is read again from the primary of that moment, if it is there.
        """
        listening, number = self._listening, self._listening.number
        kept = ("EXPIRE", keys.results(front_end), RESULTS_KEPT_SECONDS)
        commits, written = await listening.exchange([("HGET", keys.META, "commits"), kept], number)
        if written != 1:
            raise StoreUnavailable(f"the answers are gone: {written}")
        await listening.wait_for_replicas(self._wait_replicas, number)
        self._seen_commits = max(self._seen_commits, int(commits))

    async def has_room(self) -> bool:
        """See CommandLog."""
        if (await self._appending.call("ROLE"))[0] != PRIMARY:  # a replica would let us read on, for ever
            self._lose_sight()
        memory = await self._appending.call("INFO", "memory")
        commits = await self._appending.call("HGET", keys.META, "commits")
        if not self._wait_replicas:
            self._seen_commits = max(self._seen_commits, int(commits or 0))
        info = dict(line.split(":", 1) for line in memory.decode().splitlines() if ":" in line)
        used, limit = int(info["used_memory"]), int(info["maxmemory"])
        return limit == 0 or used * 100 < limit * ADMISSION_MEMORY_SHARE

    async def heed_ops(self, front_end: str) -> bool:
        """See CommandLog. A store that takes no writes still says whether the service is paused."""
        asked = ("HGET", keys.OPS, keys.PAUSED_FIELD)
        alive = ("FCALL", library.RENEW, 1, keys.FRONT_ENDS, front_end, FRONT_END_ALIVE_MS)
        paused, _ = await self._appending.exchange([asked, alive])
        if isinstance(paused, ResponseError):
            raise translate(paused) from paused
        return bool(paused)

    async def close(self) -> None:
        """Close both connections."""
        await self._appending.close()
        await self._listening.close()

    async def _is_forgotten(self, stream: str, cursor: str) -> bool:
        """Whether the last entry read is gone, and so the stream: a new one may be of a time before it."""
        return not await self._listening.call("XRANGE", stream, cursor, cursor)

    async def _ensure_fit(self) -> None:
        if self._fit:
            return
        try:
            commits = await asyncio.to_thread(self._check_store, self._seen_commits)
        except StoreUnfit as unfit:
            raise StoreUnavailable(f"ALARM {unfit}") from unfit
        if commits < self._seen_commits or not self._wait_replicas:
            self._seen_commits = commits
        self._fit = True
