"""Fills a store in bulk: records by the real rules and the store's own writing, sent without its checks.

Only for accounts that nobody else touches meanwhile: what a commit would compare is not compared. What is
written in one go is seen as one, by audits beside it too.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import Any

from hiredis import pack_command
from redis import ConnectionPool

from app.domain.commands import Deposit, EnsureAccount, ExpireReservation, Reserve
from app.services.changes import Changes
from app.storage.backends.valkey import connection_options
from app.storage.plan import Plan
from app.storage.writing import Writing
from ops.bench.deciding import POLICY, Deciding

INITIAL_BALANCE = 1_000
HOLD_SECONDS = 30
BATCH = 256
"""Commands, or accounts, that are written in one go; holds that go on are written all at once."""
CHUNK = 25_000
"""Accounts that one process opens at a time."""


def account_id(number: int) -> str:
    """The name of the seeded account of that number."""
    return f"seeded-{number}"


class Seeder:
    """One connection to a store of `partitions` partitions."""

    def __init__(self, url: str, partitions: int) -> None:
        self._connection = ConnectionPool.from_url(url, **connection_options()).make_connection()
        self._partitions = partitions
        self._now = int(time.time() * 1_000)

    def accounts(self, numbers: Iterable[int]) -> None:
        """Open the accounts of these numbers, each with an initial balance."""
        for batch in _batches(numbers):
            together = Changes()
            for number in batch:
                deciding = Deciding(account_id(number), self._partitions)
                deciding.do(self._opening(deciding, INITIAL_BALANCE), self._now)
                together.accounts |= deciding.changes.accounts
                together.postings += deciding.changes.postings
            self._write(together)

    def entries(self, name: str, count: int) -> None:
        """Open an account whose ledger has `count` entries, all deposits."""
        deciding = Deciding(name, self._partitions)
        deposit = Deposit(account_id=name, amount=1, source="seeding")
        for batch in _batches(range(count)):
            for number in batch:
                deciding.do(deposit, self._now, f"seeding-{number}")
            self._write_all(deciding)

    def past_holds(self, name: str, count: int, *, ended: bool) -> None:
        """Open an account with `count` holds that are past their time.

        They are EXPIRED where `ended`; else still HELD, as they are until a command ends them.
        """
        deciding = Deciding(name, self._partitions)
        deciding.do(self._opening(deciding, count), self._now)
        self._write_all(deciding)
        reserve = Reserve(account_id=name, table_id="seeding", amount=1, timeout_seconds=HOLD_SECONDS)
        past = self._now - HOLD_SECONDS * 1_000
        # Those still held in one go: the scheduler ends the first of them while others would be written.
        for batch in _batches(range(count)) if ended else [range(count)]:
            for number in batch:
                deciding.forget_holds()
                made = deciding.do(reserve, past - HOLD_SECONDS * 1_000, f"seeding-{number}")
                if ended:
                    deciding.do(ExpireReservation(reservation_id=made.reservation_id), past)
            self._write_all(deciding)

    def close(self) -> None:
        """End the connection."""
        self._connection.disconnect()

    def _opening(self, deciding: Deciding, chips: int) -> EnsureAccount:
        return EnsureAccount(account_id=deciding.account_id, initial_balance=chips)

    def _write_all(self, deciding: Deciding) -> None:
        self._write(deciding.changes)
        deciding.written()

    def _write(self, changes: Changes) -> None:
        writing = Writing(self._partitions, POLICY.refusal_ttl_ms, POLICY.refusal_ttl_ms, self._now)
        writing.changes(changes)
        transaction = [("MULTI",), *_commands(writing.finish()), ("EXEC",)]
        self._connection.send_packed_command([b"".join(pack_command(command) for command in transaction)])
        *_, replies = [self._connection.read_response() for _ in transaction]  # raises what is refused
        for refused in filter(lambda reply: isinstance(reply, Exception), replies):
            raise refused


@contextmanager
def seeder(url: str, partitions: int) -> Iterator[Seeder]:
    """A seeder whose connection ends with the block."""
    seeding = Seeder(url, partitions)
    try:
        yield seeding
    finally:
        seeding.close()


def seed_accounts(url: str, partitions: int, count: int, chunk: int = CHUNK) -> None:
    """Open `count` accounts, with a process for each core."""
    chunks = [range(first, min(first + chunk, count)) for first in range(0, count, chunk)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        list(processes.map(partial(_seed_chunk, url, partitions), chunks))  # raises what one of them raised


def _seed_chunk(url: str, partitions: int, numbers: range) -> None:
    with seeder(url, partitions) as seeding:
        seeding.accounts(numbers)


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    left = iter(numbers)
    while batch := list(islice(left, BATCH)):
        yield batch


def _commands(plan: Plan) -> Iterator[Any]:
    """The writes of a plan as plain commands."""
    for command, key, *arguments in plan.writes:
        yield (command, plan.keys[int(key) - 1], *arguments)
