"""Fills a State from the server: one call of the read function for all that a unit of work wants."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from app.domain.accounts import FROZEN, NO_ENTRY, Account, check_tail
from app.domain.dead_letters import partition_of_letter
from app.domain.identifiers import partition_in, partition_of
from app.domain.ledger import BrokenChain, LedgerEntry, UnknownVersion, unseal
from app.domain.state import State
from app.services.faults import StoreRefused
from app.services.ports import Wanted
from app.storage import codec, keys
from app.storage.backend import Backend, Reply
from app.storage.plan import Plan

MAX_HEADS = 100_000
"""How many accounts' head segments are remembered; only accounts beyond their first segment count."""


class Loader:
    """Reads records by domain ids. Remembers which ledger segment each account's head was last seen in."""

    def __init__(self, backend: Backend, partitions: int) -> None:
        self._backend = backend
        self._partitions = partitions
        self._segments: dict[str, int] = {}

    def load(self, wanted: Wanted, state: State) -> int:
        """Fill the state; the server's time in ms.

        An account and the tail of its ledger are always of one moment: where the tail turns out to stand in
        another segment than remembered, the account is read again with it.
        """
        reading = _Reading()
        self._want_accounts(reading, wanted.accounts, state)
        self._want_records(reading, wanted, state)
        now = reading.run(self._backend)
        while moved := self._check_tails(reading.tails, state):
            reading = _Reading()
            self._want_accounts(reading, moved, state)
            now = reading.run(self._backend)
        return now

    def learn(self, account: Account) -> None:
        """Remember where the head of an account's ledger stands."""
        segment = keys.segment_of(account.seq)
        if segment or account.account_id in self._segments:
            if len(self._segments) >= MAX_HEADS:
                self._segments.clear()
            self._segments[account.account_id] = segment

    def _want_accounts(self, reading: "_Reading", account_ids: Iterable[str], state: State) -> None:
        for account_id in account_ids:
            partition = partition_of(account_id, self._partitions)
            segment = self._segments.get(account_id, 0)
            reading.want(
                partial(_put_account, state, account_id),
                "HMGET",
                keys.account(partition, account_id),
                *codec.ACCOUNT_FIELDS,
            )
            reading.want(partial(_put_holds, state, account_id), "HGETALL", keys.holds(partition, account_id))
            ledger = keys.ledger(partition, account_id, segment)
            reading.want(partial(reading.put_tail, account_id, segment), "LINDEX", ledger, -1)

    def _want_records(self, reading: "_Reading", wanted: Wanted, state: State) -> None:
        for reservation_id in wanted.reservations:
            key = keys.reservation(partition_in(reservation_id) or 0, reservation_id)
            reading.want(partial(_put, state.reservations, reservation_id, codec.reservation), "GET", key)
        for transaction_id in wanted.transactions:
            key = keys.transaction(partition_in(transaction_id) or 0, transaction_id)
            reading.want(partial(_put, state.transactions, transaction_id, codec.transaction), "GET", key)
        for refusal_key in wanted.refusals:
            key = keys.refusal(*refusal_key)
            reading.want(partial(_put, state.refusals, refusal_key, codec.refusal), "GET", key)
        for record_id in wanted.answers:
            key = keys.answer(partition_in(record_id) or 0, record_id)
            reading.want(partial(_put, state.answers, record_id, codec.answer), "GET", key)
        for letter_id in wanted.dead_letters:
            key = keys.dead_letters(partition_of_letter(letter_id) or 0)
            reading.want(
                partial(_put, state.dead_letters, letter_id, codec.dead_letter), "HGET", key, letter_id
            )
        for table_id, hand_id in wanted.pots:
            key = keys.pot(partition_of(table_id, self._partitions), table_id, hand_id)
            put = partial(_put, state.pots, (table_id, hand_id), codec.pot)
            reading.want(put, "HGET", key, "record")
        for table_id, account_id in wanted.seats:
            key = keys.table(partition_of(table_id, self._partitions), table_id)
            put = partial(_put, state.in_play, (table_id, account_id), _whole)
            reading.want(put, "HGET", key, keys.in_play_field(account_id))
        for account_id, seq in wanted.entries:
            key = keys.ledger(partition_of(account_id, self._partitions), account_id, keys.segment_of(seq))
            reading.want(partial(_put_entry, state, account_id, seq), "LRANGE", key, *keys.places_of(seq))

    def _check_tails(self, tails: dict[str, tuple[int, bytes | None]], state: State) -> list[str]:
        moved = []
        for account_id, (segment, tail) in tails.items():
            account = state.accounts[account_id]
            if account is None or account_id in state.broken:
                continue
            if account.seq != NO_ENTRY and keys.segment_of(account.seq) != segment:
                self.learn(account)
                moved.append(account_id)
                continue
            try:
                check_tail(account, tail)
            except UnknownVersion as unknown:
                if not account.frozen:
                    raise StoreRefused(f"account {account_id}: {unknown}") from unknown
                state.unsound[account_id] = str(unknown)
            except BrokenChain as broken:
                _freeze(state, account_id, str(broken))
        return moved


class _Reading:
    """A plan of reads with the place where each reply goes."""

    def __init__(self) -> None:
        self.tails: dict[str, tuple[int, bytes | None]] = {}
        self._plan = Plan()
        self._takers: list[Callable[[Reply], None]] = []

    def want(self, taker: Callable[[Reply], None], command: str, key: str, *args: str | int) -> None:
        self._plan.read(command, key, *args)
        self._takers.append(taker)

    def run(self, backend: Backend) -> int:
        now, replies = backend.read(self._plan)
        for taker, reply in zip(self._takers, replies, strict=True):
            taker(reply)
        return now

    def put_tail(self, account_id: str, segment: int, reply: Reply) -> None:
        self.tails[account_id] = (segment, reply)


def _put(target: dict[Any, Any], key: Any, decode: Callable[[Reply], Any], reply: Reply) -> None:
    target[key] = decode(reply)


def _put_account(state: State, account_id: str, reply: Reply) -> None:
    state.accounts[account_id] = codec.account(account_id, reply)


def _put_holds(state: State, account_id: str, reply: Reply) -> None:
    state.holds[account_id] = codec.holds(reply)


def _put_entry(state: State, account_id: str, seq: int, reply: Reply) -> None:
    entry = state.entries[account_id, seq] = _find_entry(reply, seq)
    if entry is None:
        _freeze(state, account_id, f"entry {seq} is missing or broken")


def _find_entry(elements: list[bytes], seq: int) -> LedgerEntry | None:
    """The entry `seq` among the elements read at `keys.places_of(seq)`, when it is whole."""
    for element in elements:
        with suppress(BrokenChain):
            entry = unseal(element)[1]
            if entry.seq == seq:
                return entry
    return None


def _freeze(state: State, account_id: str, reason: str) -> None:
    account = state.accounts.get(account_id)
    if account is not None and account.frozen:
        state.unsound.setdefault(account_id, reason)
    elif account is not None:
        state.broken[account_id] = reason
        state.accounts[account_id] = replace(account, status=FROZEN)


def _whole(reply: Reply) -> int:
    return int(reply or 0)
