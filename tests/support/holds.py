"""Reservations for tests of their expiry: the commands that make them, any number in any partition."""

from collections.abc import Iterator
from itertools import islice

from app.domain.commands import Command, EnsureAccount, Reserve
from app.queueing.envelope import encode_message, seal
from app.queueing.limits import MESSAGE_COMMANDS
from app.services.queue import Lane, Stream
from tests.support.carrying import PARTITIONS, ids_in

HOLDS_OF_AN_ACCOUNT = 20
ACCOUNTS_OF_A_MESSAGE = MESSAGE_COMMANDS // (HOLDS_OF_AN_ACCOUNT + 1)
SECONDS = 1
"""How long each hold lasts. All of an account are made at one moment: none ends before the next is made."""


def accounts_for(partition: int, holds: int, partitions: int = PARTITIONS) -> list[str]:
    """The accounts on which so many holds stand."""
    return list(islice(ids_in(partition, partitions), -(-holds // HOLDS_OF_AN_ACCOUNT)))


def messages(partition: int, holds: int, partitions: int = PARTITIONS) -> Iterator[tuple[Stream, str]]:
    """Messages for the partition's queue that open these accounts and hold 1 chip so many times."""
    accounts = accounts_for(partition, holds, partitions)
    for first in range(0, len(accounts), ACCOUNTS_OF_A_MESSAGE):
        message_id = f"making-{partition}-{first}"
        left = holds - first * HOLDS_OF_AN_ACCOUNT
        envelopes = [
            seal(command, key=key, command_id=f"{message_id}-{number}", remaining_ms=0)
            for number, (command, key) in enumerate(
                _making(accounts[first : first + ACCOUNTS_OF_A_MESSAGE], left)
            )
        ]
        yield (partition, Lane.INTERACTIVE), encode_message(envelopes, message_id)


def _making(accounts: list[str], holds: int) -> Iterator[tuple[Command, str]]:
    """The commands, with their keys."""
    for place, account_id in enumerate(accounts):
        yield EnsureAccount(account_id=account_id, initial_balance=HOLDS_OF_AN_ACCOUNT), ""
        reserve = Reserve(account_id=account_id, table_id="t", amount=1, timeout_seconds=SECONDS)
        for number in range(min(HOLDS_OF_AN_ACCOUNT, holds - place * HOLDS_OF_AN_ACCOUNT)):
            yield reserve, f"hold-{number}"
