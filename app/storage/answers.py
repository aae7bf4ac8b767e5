"""Kept answers as an audit sees them: a repeated call is told of a payment what the ledger says of it.

What a command on an account answers is read from its ledger entry; here are the answers that are kept as
such, those of committed reservations and of settlements.
"""

from collections.abc import Iterator
from typing import NamedTuple

from app.domain.identifiers import partition_in
from app.domain.ledger import BrokenChain, LedgerEntry, unseal
from app.domain.reservations import COMMITTED
from app.services.faults import StoreRefused
from app.services.verification import Findings, What, differing
from app.storage import codec, keys
from app.storage.pictures import Records


class Told(NamedTuple):
    """What an answer says: this transaction changed the account by so many chips, and left so many."""

    where: str
    transaction_id: str
    account_id: str
    amount: int
    balance: int

    @property
    def text(self) -> str:
        """It as it is compared."""
        return f"{self.account_id}|{self.amount}|{self.balance}"


class Answers:
    """Compares answers with ledger entries. Where there is no such entry, others report that."""

    def __init__(self, records: Records, findings: Findings) -> None:
        self._records = records
        self._findings = findings

    def check_all(self) -> None:
        """Every answer there is."""
        for prefix in (keys.RESERVATIONS, keys.ANSWERS):
            for names in self._records.scan(prefix):
                self.check_named(names)

    def check_named(self, names: list[str]) -> None:
        """The answers with these keys, of reservations and of commands on pots."""
        told = list(self._told([*dict.fromkeys(names)]))
        for answer, entry in zip(told, self._entries(told), strict=True):
            if entry:
                expected = f"{entry.account_id}|{entry.amount}|{entry.balance_after}"
                where = f"{answer.where} {answer.transaction_id}"
                self._findings.add(
                    differing(What.ANSWER_DIFFERS, where, expected, answer.text, answer.account_id)
                )

    def _told(self, names: list[str]) -> Iterator[Told]:
        for name, raw in zip(names, self._records.many(names), strict=True):
            is_of_pot = name.startswith(keys.ANSWERS)
            try:
                yield from _of_settlement(name, raw) if is_of_pot else _of_hold(name, raw)
            except StoreRefused as refused:
                if is_of_pot:  # a reservation is reported where reservations are looked at
                    self._findings.add(differing(What.ANSWER_DIFFERS, name, None, str(refused)))

    def _entries(self, told: list[Told]) -> Iterator[LedgerEntry | None]:
        """The entry that the ledger has of each transaction, where it can be read."""
        homes = [partition_in(each.transaction_id) or 0 for each in told]
        names = [keys.transaction(home, each.transaction_id) for home, each in zip(homes, told, strict=True)]
        wanted = []
        for answer, home, raw in zip(told, homes, self._records.many(names), strict=True):
            try:
                record = codec.transaction(raw)
            except StoreRefused:
                record = None
            seq, owner = (record.seq, record.account_id) if record else (0, answer.account_id)
            wanted.append((keys.ledger(home, owner, keys.segment_of(seq)), *keys.places_of(seq)))
        for answer, elements in zip(told, self._records.ranges(wanted), strict=True):
            found = (each for each in _readable(elements) if each.transaction_id == answer.transaction_id)
            yield next(found, None)


def _of_hold(name: str, raw: bytes | None) -> Iterator[Told]:
    hold = codec.reservation(raw)
    if hold and hold.status == COMMITTED:
        yield Told(name, hold.transaction_id, hold.account_id, -hold.amount, hold.new_balance)


def _of_settlement(name: str, raw: bytes | None) -> Iterator[Told]:
    record = codec.answer(raw)
    for result in record.answer.results if record else ():
        if result.transaction_id:
            yield Told(name, result.transaction_id, result.account_id, result.amount, result.new_balance)


def _readable(elements: list[bytes]) -> Iterator[LedgerEntry]:
    for element in elements:
        try:
            yield unseal(element)[1]
        except BrokenChain:
            continue
