"""The checks of accounts: their ledgers, entry by entry, their holds, and what refers to either."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.accounts import NO_ENTRY, Account
from app.domain.ledger import GENESIS, BrokenChain, LedgerEntry, checksum, entry_id, unseal
from app.domain.records import TransactionRecord
from app.domain.reservations import HELD, Hold, Reservation
from app.services.verification.findings import Finding, Value, What, differing


@dataclass(slots=True)
class Chain:
    """An account's ledger as far as it was followed: the last entry's seq and checksum, the balance after it.

    One that is made with these three goes on from there; `entries` counts what was followed since.
    """

    account_id: str
    seq: int = NO_ENTRY
    checksum: str = GENESIS
    balance: int = 0
    entries: int = 0

    def follow(self, element: bytes, where: str) -> LedgerEntry | Finding:
        """Take the next element of the ledger; its entry, or what is wrong with it."""
        try:
            digest, entry = unseal(element)
        except BrokenChain as broken:
            return self._altered(element, str(broken), where)
        place = self._next_seq(entry.seq)
        if not (
            entry.seq == place
            and entry.account_id == self.account_id
            and entry.previous_checksum == self.checksum
            and entry.balance_before == self.balance
            and entry.balance_before + entry.amount == entry.balance_after >= 0
            and entry.entry_id == entry_id(self.account_id, place)
        ) and (flaw := self._flaw(entry, place, where)):
            return flaw
        self.seq, self.checksum, self.balance = place, digest, entry.balance_after
        self.entries += 1
        return entry

    def _flaw(self, entry: LedgerEntry, place: int, where: str) -> Finding | None:
        """What is wrong with an entry that is what its checksum says."""
        wanted = entry_id(self.account_id, place)
        for what, expected, found in (
            (What.ENTRY_OUT_OF_PLACE, wanted, entry_id(entry.account_id, entry.seq)),
            (What.ENTRY_OUT_OF_PLACE, wanted, entry.entry_id),
            (What.ENTRY_UNLINKED, self.checksum, entry.previous_checksum),
            (What.ENTRY_MISCOUNTED, self.balance, entry.balance_before),
            (What.ENTRY_MISCOUNTED, entry.balance_before + entry.amount, entry.balance_after),
            (What.ENTRY_OVERDRAWN, max(entry.balance_after, 0), entry.balance_after),
        ):
            if expected != found:
                return self._finding(what, where, place, expected, found)
        return None

    def stand_on(self, seq: int, elements: list[bytes], where: str) -> Finding | None:
        """Begin behind entry `seq`, the last of these that are read at its place; what is wrong with it.

        Where there is no entry 0, the ledger begins with entry 1.
        """
        broken: Finding | None = None
        last = NO_ENTRY
        for element in elements:
            try:
                digest, entry = unseal(element)
            except BrokenChain as why:
                broken = broken or self._altered(element, str(why), where, seq)
                continue
            if (entry.account_id, entry.seq) == (self.account_id, seq):
                self.seq, self.checksum, self.balance = seq, digest, entry.balance_after
                return None
            last = entry.seq
        if broken or seq == 0:
            return broken
        wanted = entry_id(self.account_id, seq)
        if last < seq:
            return self._finding(What.ENTRY_MISSING, where, seq, wanted, None)
        return self._finding(What.ENTRY_OUT_OF_PLACE, where, seq, wanted, entry_id(self.account_id, last))

    def missing(self, where: str, head: int) -> Finding:
        """The finding that the ledger ends here, before it comes to `head`."""
        place = self._next_seq(head)
        return self._finding(What.ENTRY_MISSING, where, place, entry_id(self.account_id, place), None)

    def surplus(self, where: str, elements: int) -> Finding:
        """The finding that this many elements stand behind the last one that may."""
        return self._finding(What.ENTRY_OUT_OF_PLACE, where, self.seq + 1, None, f"{elements} more")

    def _next_seq(self, found: int) -> int:
        """The place of the next entry. A ledger begins with 0, an initial balance, or else with 1."""
        return found if self.seq == NO_ENTRY and found in (0, 1) else max(self.seq + 1, 1)

    def _altered(self, element: bytes, why: str, where: str, seq: int | None = None) -> Finding:
        stored, _, canonical = element.partition(b" ")
        expected, found = stored.decode(errors="replace"), checksum(canonical)
        place = self._next_seq(0 if b'"seq":0,' in canonical else 1) if seq is None else seq
        return self._finding(What.ENTRY_ALTERED, where, place, expected, found if found != expected else why)

    def _finding(self, what: What, where: str, seq: int, expected: Value, found: Value) -> Finding:
        return Finding(
            what=what, where=where, account_id=self.account_id, seq=seq, expected=expected, found=found
        )


def check_head(chain: Chain, account: Account, where: str) -> Finding | None:
    """The account names the last entry of its ledger: `chain`, followed to the seq that it names."""
    version = max(chain.seq, 0)
    return differing(
        What.HEAD_DIFFERS, f"{where} checksum", chain.checksum, account.checksum, account.account_id
    ) or differing(What.HEAD_DIFFERS, f"{where} version", version, account.version, account.account_id)


def check_balance(chain: Chain, account: Account, where: str) -> Finding | None:
    """The account's balance is the sum of its ledger."""
    return differing(
        What.BALANCE_DIFFERS, f"{where} balance", chain.balance, account.balance, account.account_id
    )


def check_transaction(entry: LedgerEntry, record: TransactionRecord | None, where: str) -> Finding | None:
    """The entry's transaction record names the entry."""
    found = entry_id(record.account_id, record.seq) if record else None
    if found == entry.entry_id:
        return None
    return Finding(
        what=What.TRANSACTION_DIFFERS,
        where=where,
        account_id=entry.account_id,
        seq=entry.seq,
        expected=entry.entry_id,
        found=found,
    )


def check_origin(
    transaction_id: str, record: TransactionRecord, entry: LedgerEntry | None, where: str
) -> Finding | None:
    """The entry that a transaction record names is that transaction."""
    found = entry.transaction_id if entry else None
    if found == transaction_id:
        return None
    return Finding(
        what=What.TRANSACTION_UNFOUNDED,
        where=where,
        account_id=record.account_id,
        seq=record.seq,
        expected=transaction_id,
        found=found,
    )


def check_index(
    account_id: str, expected: Sequence[int], found: Sequence[int | None], where: str
) -> Finding | None:
    """The index of one type holds the seqs of the entries of that type, in order."""
    for place, seq in enumerate(expected):
        there = found[place] if place < len(found) else None
        if there != seq:
            return Finding(
                what=What.INDEX_DIFFERS,
                where=where,
                account_id=account_id,
                seq=seq,
                expected=seq,
                found=there,
            )
    return None


def check_hold(account_id: str, hold: Hold, reservation: Reservation | None, where: str) -> Finding | None:
    """Behind a hold stands a HELD reservation of that account, with the same amount and time."""
    if reservation is None or reservation.status != HELD:
        status = reservation.status if reservation else None
        return differing(What.HOLD_UNFOUNDED, where, HELD, status, account_id)
    expected = f"{reservation.account_id}|{reservation.amount}|{reservation.expires_at}"
    found = f"{account_id}|{hold.amount}|{hold.expires_at}"
    return differing(What.HOLD_DIFFERS, where, expected, found, account_id)


def check_reserved(account: Account, held: int, where: str) -> Finding | None:
    """What an account has reserved is the sum of its holds."""
    return differing(What.RESERVED_DIFFERS, f"{where} reserved", held, account.reserved, account.account_id)


def check_held(reservation: Reservation, *, is_held: bool, where: str) -> Finding | None:
    """A HELD reservation is among the holds of its account."""
    if is_held or reservation.status != HELD:
        return None
    held = f"{reservation.account_id}|{reservation.amount}|{reservation.expires_at}"
    return differing(What.HOLD_MISSING, where, held, None, reservation.account_id)
