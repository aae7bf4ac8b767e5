"""Commands that nobody waits for: submitted with one durable write, carried out later, looked up by their id.

The id is derived from operation, aggregate and idempotency key, so whoever submits again finds the same one.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from app.domain.commands import Command
from app.domain.identifiers import partition_of
from app.domain.requests import Request
from app.domain.validation import Malformed, check_command
from app.services.faults import DeadlinePassed, Overloaded, StoreUnavailable, Unavailable
from app.services.queue import Lane, Stream
from app.services.submission import DEFAULT_TIMEOUT_MS
from app.services.tracking import OWN, CommandState, Intent, Seal, Tracked

_PAUSE_SECONDS = 0.1


class CommandStates(Protocol):
    """Where submitted commands and their states are kept. Raises Unavailable when nothing was written."""

    async def put(self, command_id: str, intent: Intent, stream: Stream, message: str) -> CommandState | None:
        """Keep the intent and queue the message, in one atomic write; or the state that was there already.

        A refusal that does not stick to its key is no such state: the same command may come again.
        Raises Unavailable or Overloaded when nothing was written, StoreUnavailable when that is not known.
        """
        ...

    async def get(self, command_id: str) -> CommandState | None:
        """The command's state; None when there is none, or none any more."""
        ...


class Submitted(NamedTuple):
    """A command that was taken: its id, and the state that was there `before` under the same key, if any."""

    command_id: str
    before: CommandState | None = None
    reused: bool = False


class Submissions:
    """The use case. `admit` raises Unavailable or Overloaded while no command may be queued."""

    def __init__(
        self, states: CommandStates, seal: Seal, *, partitions: int, admit: Callable[[], None]
    ) -> None:
        self._states = states
        self._seal = seal
        self._partitions = partitions
        self._admit = admit

    async def submit(self, command: Command, key: str, submitted_by: str = "") -> Submitted:
        """Have the command carried out some time; when this returns that is certain.

        `reused` when the key stands for other content; nothing was queued then. Raises Malformed, Unavailable
        or Overloaded when nothing was queued, DeadlinePassed when that is not known.
        """
        if not command.keyed:
            raise Malformed("operation", f"{command.kind} has no idempotency key and cannot be submitted")
        check_command(command, key)
        self._admit()
        partition = partition_of(command.aggregate_id, self._partitions)
        request = Request(command, partition=partition, key=key)
        command_id = request.record_id
        intent = Intent(
            kind=command.kind,
            aggregate_id=command.aggregate_id,
            fingerprint=request.fingerprint,
            submitted_by=submitted_by,
        )
        message = self._seal([Tracked(command, key, command_id, OWN)], f"command-{command_id}")
        before = await self._put(command_id, intent, (partition, Lane.BULK), message)
        reused = before is not None and before.intent.fingerprint != intent.fingerprint
        return Submitted(command_id, before, reused)

    async def state(self, command_id: str) -> CommandState | None:
        """Where the command is. Raises Unavailable."""
        return await self._states.get(command_id)

    async def _put(
        self, command_id: str, intent: Intent, stream: Stream, message: str
    ) -> CommandState | None:
        """A write whose reply was lost is tried again: it is found, and not written twice.

        From then on no fault says that nothing was queued: that one write may have been.
        """
        in_doubt = False
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT_MS / 1000):
                while True:
                    try:
                        return await self._states.put(command_id, intent, stream, message)
                    except StoreUnavailable:
                        in_doubt = True
                    except (Unavailable, Overloaded):
                        if not in_doubt:
                            raise
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise DeadlinePassed("whether the command was queued is not known") from None
