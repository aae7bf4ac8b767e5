"""Audits in the test's own process, and ten corruptions that they must find wherever they are planted."""

import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

import msgspec

from app.domain.commands import Deposit, Reserve, Withdraw
from app.domain.identifiers import partition_of
from app.domain.ledger import TransactionType
from app.services.audits import AuditTask, Work
from app.services.verification import KeptFinding, What
from app.storage import keys
from app.storage.audits.book import FindingsBook
from app.storage.audits.retention import Kept
from app.storage.audits.state import AuditedStore, Rules, Sizes
from app.storage.audits.summary import read_summary
from app.storage.audits.tasks import StoreAudits
from app.storage.plan import Plan
from tests.support.books import PARTITIONS, Books

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
Call = Callable[..., Any]


ALL_AT_ONCE = Sizes()


class Auditing:
    """An auditor that does a task when it is told to.

    Its full passes are over as soon as they have begun, or, `hasty`, never go on: it has no time for them.
    """

    def __init__(
        self,
        store: AuditedStore,
        *,
        hasty: bool = False,
        sizes: Sizes = ALL_AT_ONCE,
        kept: Kept | None = None,
    ) -> None:
        self.store = store
        self.book = FindingsBook(store, PARTITIONS)
        self._hasty = hasty
        hurry = count(0, 1_000)
        clock = (lambda: float(next(hurry))) if hasty else time.monotonic
        self._audits = StoreAudits(
            store, Rules(PARTITIONS, 1, HOUR_MS, sizes), kept or Kept(10, DAY_MS), clock
        )

    def slot(self, *partitions: int) -> None:
        """What one slot of the scheduler has done, for these partitions alone, or for all and the store."""
        for partition in partitions or range(PARTITIONS):
            self._audits.carry_out(AuditTask(work=Work.PARTITION, partition=partition))
        if not partitions:
            self._audits.carry_out(AuditTask(work=Work.STORE))

    def audit(self) -> None:
        """Slot after slot until everything was read from its beginning; one alone where that never ends."""
        began = self.store.read(Plan())[0]
        self.slot()
        while not self._hasty and read_summary(self.store, PARTITIONS).last_full < began:
            self.slot()

    def trim(self) -> None:
        """What a slot has done for retention."""
        self._audits.carry_out(AuditTask(work=Work.RETENTION))

    def kept(self) -> list[KeptFinding]:
        """The whole book."""
        return [each for place in (None, *range(PARTITIONS)) for each in self.book.read(place)]

    def open(self) -> list[tuple[What, str, int | None]]:
        """What is open: what, where, and the first bad entry."""
        found = [each.finding for each in self.kept() if each.is_open]
        return sorted((each.what, each.where, each.seq) for each in found)


def status_of(call: Call, account_id: str) -> str:
    """ACTIVE or FROZEN."""
    found = call("HGET", keys.account(partition_of(account_id, PARTITIONS), account_id), "status")
    return str(found.decode())


def frozen(call: Call, account_ids: Iterable[str]) -> set[str]:
    """Those of the accounts that are frozen."""
    return {each for each in account_ids if status_of(call, each) == "FROZEN"}


class Planted(NamedTuple):
    """What an audit must say of a corruption, and whose account must be frozen for it."""

    what: What
    where: str
    seq: int | None
    account_id: str | None


class Victim:
    """An account with entries 1 to 6 and one hold, to be corrupted. The last three entries may be new."""

    def __init__(self, call: Call, account_id: str) -> None:
        self.account_id = account_id
        self.partition = partition_of(account_id, PARTITIONS)
        self.ledger = keys.ledger(self.partition, account_id, 0)
        self.account = keys.account(self.partition, account_id)
        self.call = call

    def found(self, what: What, where: str, seq: int | None = None) -> Planted:
        return Planted(what, where, seq, self.account_id)

    def element(self, seq: int) -> bytes:
        element: bytes = self.call("LINDEX", self.ledger, seq - 1)
        return element

    def put(self, seq: int, element: bytes) -> None:
        self.call("LSET", self.ledger, seq - 1, element)


def write_half(books: Books, account_ids: Iterable[str]) -> None:
    """Three entries of each account; after the second time there are six, and two holds."""
    for each in account_ids:
        books.do(Deposit(account_id=each, amount=50), Deposit(account_id=each, amount=10))
        books.do(Withdraw(account_id=each, amount=20))
        books.do(Reserve(account_id=each, table_id="t", amount=5, timeout_seconds=3_600))


def changed_amount(victim: Victim) -> Planted:
    victim.put(5, victim.element(5).replace(b'"amount":10,', b'"amount":1000,'))
    return victim.found(What.ENTRY_ALTERED, victim.ledger, 5)


def changed_hash(victim: Victim) -> Planted:
    victim.put(5, b"f" * 64 + victim.element(5)[64:])
    return victim.found(What.ENTRY_ALTERED, victim.ledger, 5)


def deleted_entry(victim: Victim) -> Planted:
    victim.call("LREM", victim.ledger, 1, victim.element(5))
    return victim.found(What.ENTRY_OUT_OF_PLACE, victim.ledger, 5)


def swapped_entries(victim: Victim) -> Planted:
    one, other = victim.element(4), victim.element(5)
    victim.put(4, other)
    victim.put(5, one)
    return victim.found(What.ENTRY_OUT_OF_PLACE, victim.ledger, 4)


def truncated_tail(victim: Victim) -> Planted:
    victim.call("RPOP", victim.ledger)
    return victim.found(What.ENTRY_MISSING, victim.ledger, 6)


def changed_balance(victim: Victim) -> Planted:
    victim.call("HINCRBY", victim.account, "balance", 1)
    return victim.found(What.BALANCE_DIFFERS, f"{victim.account} balance")


def forged_hold(victim: Victim) -> Planted:
    holds = keys.holds(victim.partition, victim.account_id)
    victim.call("HSET", holds, f"{victim.partition:03d}-forged", "500|9999999999999")
    return victim.found(What.HOLD_UNFOUNDED, f"{holds} {victim.partition:03d}-forged")


def lost_index_entry(victim: Victim) -> Planted:
    index = keys.transactions_of(victim.partition, victim.account_id, TransactionType.DEPOSIT)
    victim.call("LREM", index, 1, 4)
    return victim.found(What.INDEX_DIFFERS, index, 4)


def changed_total(victim: Victim) -> Planted:
    totals = keys.totals(victim.partition)
    victim.call("HINCRBY", totals, "CHIPS|type|DEPOSIT", 7)
    return Planted(What.TOTAL_DIFFERS, f"{totals} CHIPS|type|DEPOSIT", None, None)


def edited_transaction(victim: Victim) -> Planted:
    entry = msgspec.json.decode(victim.element(5).partition(b" ")[2])
    name = keys.transaction(victim.partition, entry["transactionId"])
    victim.call("SET", name, victim.call("GET", name).replace(b'"seq":5', b'"seq":1'))
    return victim.found(What.TRANSACTION_DIFFERS, name, 5)


CORRUPTIONS: tuple[Callable[[Victim], Planted], ...] = (
    changed_amount,
    changed_hash,
    deleted_entry,
    swapped_entries,
    truncated_tail,
    changed_balance,
    forged_hold,
    lost_index_entry,
    changed_total,
    edited_transaction,
)
"""Each is in what is written last of an account, and in no other account."""
