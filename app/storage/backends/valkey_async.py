"""The server for front ends, on asyncio: the command log, and reads. Nothing is ever sent twice."""

import asyncio
from collections.abc import Callable
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
from app.storage.backends.errors import translate
from app.storage.backends.valkey import (
    OUT_OF_STEP,
    SOCKET_TIMEOUT_SECONDS,
    connection_options,
    milliseconds,
    parse_entries,
)
from app.storage.plan import Plan

ADMISSION_MEMORY_SHARE = 80
"""Per cent of the store's memory limit beyond which no new command is queued (HAZARDS 1)."""

APPEND_SECONDS = 2.0
"""A store that has not taken messages by then hangs: whether it will take them is not known."""
LISTEN_SECONDS = 2.0
"""Longer than a wait for answers: beyond it the store hangs, and commands are refused."""

_pack = msgspec.msgpack.Encoder().encode


def _heed_cancellation() -> None:
    """Raise the cancellation that redis-py's `wait_for` swallows before Python 3.12 when it has just sent."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class AsyncConnection:
    """One connection; calls take turns. An exchange that fails, or takes too long, closes it."""

    def __init__(self, url: str, timeout_seconds: float = SOCKET_TIMEOUT_SECONDS) -> None:
        options = connection_options() | {"retry": Retry(NoBackoff(), 0), "socket_timeout": timeout_seconds}
        self._connection: AbstractConnection = ConnectionPool.from_url(url, **options).make_connection()
        self._turn = asyncio.Lock()
        self._suspect = False

    async def exchange(self, commands: list[tuple[Any, ...]]) -> list[Reply]:
        """The replies, in order; a ResponseError stands where the server refused a command.

        Raises Unavailable when nothing was sent, StoreUnavailable when what became of it is not known.
        """
        async with self._turn:
            connection = self._connection
            try:
                if self._suspect:
                    await connection.disconnect(nowait=True)
                    self._suspect = False
                await connection.connect()
                if await connection.can_read():
                    raise ConnectionError(OUT_OF_STEP)
            except Exception as error:
                await connection.disconnect(nowait=True)
                raise Unavailable(str(error)) from error
            try:
                await connection.send_packed_command(connection.pack_commands(commands))
                _heed_cancellation()
                return [await self._read_one() for _ in commands]
            except BaseException as error:
                await connection.disconnect(nowait=True)
                if isinstance(error, Exception):
                    raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
                raise

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
        return reply if isinstance(reply, list) else []

    def suspect(self) -> None:
        """The server was out of sight: connect anew before anything is sent."""
        self._suspect = True

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _read_one(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class AsyncCommandLog:
    """Implements `app.services.queue.CommandLog`.

    `check_store` is run, in a thread, before the first answer is waited for and again after every loss of the
    connection: it takes the highest commit counter seen so far and gives the present one.
    """

    def __init__(self, url: str, check_store: Callable[[int], int]) -> None:
        self._appending = AsyncConnection(url, APPEND_SECONDS)
        self._listening = AsyncConnection(url, LISTEN_SECONDS)
        self._check_store = check_store
        self._fit = False
        self._seen_commits = 0

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        """See CommandLog."""
        commands = [("XADD", keys.queue(*stream), "*", "m", payload) for stream, payload in messages]
        replies = await self._appending.exchange(commands)
        return [Unavailable(str(reply)) if isinstance(reply, ResponseError) else None for reply in replies]

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        """See CommandLog."""
        try:
            await self._ensure_fit()
            block = ("BLOCK", block_ms) if block_ms else ()
            reply = await self._listening.call("XREAD", *block, "STREAMS", keys.results(front_end), cursor)
        except BaseException:
            self._fit = False
            self._appending.suspect()
            raise
        return parse_entries(reply[0][1]) if reply else []

    async def has_room(self) -> bool:
        """See CommandLog."""
        memory = await self._appending.call("INFO", "memory")
        commits = await self._appending.call("HGET", keys.META, "commits")
        self._seen_commits = max(self._seen_commits, int(commits or 0))
        info = dict(line.split(":", 1) for line in memory.decode().splitlines() if ":" in line)
        used, limit = int(info["used_memory"]), int(info["maxmemory"])
        return limit == 0 or used * 100 < limit * ADMISSION_MEMORY_SHARE

    async def close(self) -> None:
        """Close both connections."""
        await self._appending.close()
        await self._listening.close()

    async def _ensure_fit(self) -> None:
        if self._fit:
            return
        try:
            commits = await asyncio.to_thread(self._check_store, self._seen_commits)
        except StoreUnfit as unfit:
            raise StoreUnavailable(f"ALARM {unfit}") from unfit
        self._seen_commits = max(self._seen_commits, commits)
        self._fit = True
