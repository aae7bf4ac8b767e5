"""A command on its way to be decided, with everything that follows from its content alone."""

from functools import cached_property
from hashlib import sha256

import msgspec

from app.domain.commands import Command, PayTogether, Reserve, TableCommand
from app.domain.identifiers import derive_id, hash_key

RefusalKey = tuple[int, str, str, str]
"""Partition, operation, aggregate, hashed idempotency key: two players can never meet in one."""

_encode_payload = msgspec.json.Encoder().encode


class Request:
    """One command with its key, the partition it arrived in, and its times.

    `arrived_at` and `deadline_at` are ms since the epoch on the store's clock; `deadline_at` 0 means none.
    A replay names the dead letter that it is of, and which replay of that one it is, from 1.
    """

    def __init__(  # noqa: PLR0913  # all that an envelope says
        self,
        command: Command,
        *,
        partition: int,
        key: str = "",
        command_id: str = "",
        arrived_at: int = 0,
        deadline_at: int = 0,
        replay_of: str = "",
        replay_number: int = 0,
    ) -> None:
        self.command = command
        self.partition = partition
        self.key = key
        self.command_id = command_id
        self.arrived_at = arrived_at
        self.deadline_at = deadline_at
        self.replay_of = replay_of
        self.replay_number = replay_number

    @property
    def aggregate_id(self) -> str:
        """The account, or the table or reservation that the command names instead."""
        return self.command.aggregate_id

    @property
    def is_reserve(self) -> bool:
        """True when what the command creates is a reservation instead of a transaction."""
        return isinstance(self.command, Reserve)

    @property
    def is_on_pot(self) -> bool:
        """True when what stays of the command for ever is its answer (an AnswerRecord)."""
        return isinstance(self.command, TableCommand)

    @cached_property
    def parts(self) -> tuple["Request", ...]:
        """Of payouts that are paid together each as a request of its own; else none."""
        command = self.command
        if not isinstance(command, PayTogether):
            return ()
        return tuple(
            Request(
                part.payout,
                partition=self.partition,
                key=part.key,
                command_id=f"{command.batch_id}#{part.line}",
                arrived_at=self.arrived_at,
            )
            for part in command.parts
        )

    @cached_property
    def record_id(self) -> str:
        """The id of what the command creates: derived, so that a repeated command finds it."""
        return derive_id(self.partition, self.command.kind, self.aggregate_id, self.key)

    @cached_property
    def refusal_key(self) -> RefusalKey:
        """Where a sticking refusal of this key is kept."""
        return (self.partition, self.command.kind, self.aggregate_id, hash_key(self.key))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hex, over kind and payload; neither the key nor anything that changes with a retry."""
        return sha256(self.command.kind.encode() + b"|" + _encode_payload(self.command)).hexdigest()
