"""Submitted commands and their states, for front ends: the intent and its message are one atomic write."""

from typing import Protocol

from msgspec.structs import replace

from app.domain.identifiers import partition_in
from app.services.faults import Overloaded, StoreUnavailable, Unavailable
from app.services.queue import Stream
from app.services.tracking import CommandState, Intent
from app.storage import codec, keys
from app.storage.backend import Reply
from app.storage.plan import Plan


class Connection(Protocol):
    """What is needed of `AsyncConnection`."""

    async def look(self, plan: Plan) -> tuple[int, list[Reply]]:
        """The server's time (ms) and the replies to the plan's reads. Raises Unavailable."""
        ...

    async def commit(self, plan: Plan) -> list[int]:
        """Apply the plan; the indexes of the checks that failed, [] when applied."""
        ...

    async def confirm(self) -> None:
        """Return when all that was read here is as durable as what is committed here."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class StoreCommands:
    """Implements `app.services.asynchronous.CommandStates`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, command_id: str, intent: Intent, stream: Stream, message: str) -> CommandState | None:
        """See CommandStates."""
        key = keys.command(stream[0], command_id)
        while True:
            now, state, fields = await self._look(command_id, key)
            if state is not None and not state.may_come_again(intent):
                await self._confirm_queued()
                return state
            plan = Plan()
            plan.expect(key, keys.INTENT, (fields[0] or b"").decode())
            plan.expect(key, keys.DONE, (fields[1] or b"").decode())
            if state is not None:  # and with its last field its expiry
                plan.write("HDEL", key, keys.INTENT, keys.DONE)
            plan.write("HSET", key, keys.INTENT, codec.encode(replace(intent, submitted_at=now)))
            plan.write("XADD", keys.queue(*stream), "*", "m", message)
            plan.write("HINCRBY", keys.META, "commits", 1)
            if not await self._connection.commit(plan):
                return None

    async def get(self, command_id: str) -> CommandState | None:
        """See CommandStates."""
        partition = partition_in(command_id)
        if partition is None:
            return None
        _, state, _ = await self._look(command_id, keys.command(partition, command_id))
        if state is not None and state.done is not None:
            await self._confirm()
        return state

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _confirm_queued(self) -> None:
        """For a write that was found: whether it will last is not known, and it is queued already."""
        try:
            await self._connection.confirm()
        except (Unavailable, Overloaded) as away:
            raise StoreUnavailable(str(away)) from away

    async def _confirm(self) -> None:
        """For a read: what may not last is not told, and nothing was done."""
        try:
            await self._connection.confirm()
        except StoreUnavailable as unknown:
            raise Unavailable(str(unknown)) from unknown

    async def _look(self, command_id: str, key: str) -> tuple[int, CommandState | None, list[bytes | None]]:
        plan = Plan()
        plan.read("HMGET", key, keys.INTENT, keys.DONE, keys.PARKED)
        now, (fields,) = await self._connection.look(plan)
        return now, codec.command_state(command_id, fields), fields
