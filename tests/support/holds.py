"""Reservations for tests of their expiry: the commands that make them, any number in any partition."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from app.domain.commands import Command, EnsureAccount, Reserve
from app.queueing.envelope import encode_message, seal
from app.queueing.limits import MESSAGE_COMMANDS
from app.services.queue import Lane, Stream
from tests.support.carrying import PARTITIONS, ids_in

HOLDS_OF_AN_ACCOUNT = 20
SECONDS = 1
"""How long each hold lasts."""


def accounts_for(partition: int, holds: int, partitions: int = PARTITIONS) -> list[str]:
    """The accounts on which so many holds stand."""
    return list(islice(ids_in(partition, partitions), -(-holds // HOLDS_OF_AN_ACCOUNT)))


def making(partition: int, holds: int, partitions: int = PARTITIONS) -> Iterator[tuple[Command, str]]:
    """The commands, with their keys, that open these accounts and hold 1 chip so many times."""
    for place, account_id in enumerate(accounts_for(partition, holds, partitions)):
        yield EnsureAccount(account_id=account_id, initial_balance=HOLDS_OF_AN_ACCOUNT), ""
        for number in range(min(HOLDS_OF_AN_ACCOUNT, holds - place * HOLDS_OF_AN_ACCOUNT)):
            yield (
                Reserve(account_id=account_id, table_id="t", amount=1, timeout_seconds=SECONDS),
                f"hold-{number}",
            )


def messages(partition: int, holds: int, partitions: int = PARTITIONS) -> Iterator[tuple[Stream, str]]:
    """The same as messages for the partition's queue."""
    sealed = [
        seal(command, key=key, command_id=f"{partition}-{number}", remaining_ms=0)
        for number, (command, key) in enumerate(making(partition, holds, partitions))
    ]
    for first in range(0, len(sealed), MESSAGE_COMMANDS):
        envelopes: list[msgspec.Raw] = sealed[first : first + MESSAGE_COMMANDS]
        yield (partition, Lane.INTERACTIVE), encode_message(envelopes, f"making-{partition}-{first}")
