"""The checks of an audit, over records handed to it: ledgers, holds, indexes, totals, the supply of chips.

Pure: reads nothing, repairs nothing. Records that are compared with each other must be of one moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from app.domain.accounts import NO_ENTRY, Account
from app.domain.amounts import CURRENCY
from app.domain.ledger import (
    GENESIS,
    SOURCES,
    BrokenChain,
    LedgerEntry,
    TransactionType,
    checksum,
    entry_id,
    unseal,
)
from app.domain.pots import ACTIVE, SETTLED, Pot
from app.domain.records import TransactionRecord
from app.domain.reservations import HELD, Hold, Reservation

MOST_FINDINGS = 1_000
"""How many findings are kept; the others are counted."""

Value = int | str | None
"""What was expected or found: a number, a text, or None for nothing."""


class What(StrEnum):
    """What is wrong, gravest first.

    Of a ledger only the first bad entry is reported, and nothing that follows from a finding alone.
    """

    SUPPLY_DIFFERS = "SUPPLY_DIFFERS"
    ENTRY_ALTERED = "ENTRY_ALTERED"
    ENTRY_MISSING = "ENTRY_MISSING"
    ENTRY_OUT_OF_PLACE = "ENTRY_OUT_OF_PLACE"
    ENTRY_UNLINKED = "ENTRY_UNLINKED"
    ENTRY_MISCOUNTED = "ENTRY_MISCOUNTED"
    ENTRY_OVERDRAWN = "ENTRY_OVERDRAWN"
    ACCOUNT_UNREADABLE = "ACCOUNT_UNREADABLE"
    BALANCE_DIFFERS = "BALANCE_DIFFERS"
    HEAD_DIFFERS = "HEAD_DIFFERS"
    TRANSACTION_DIFFERS = "TRANSACTION_DIFFERS"
    TRANSACTION_UNFOUNDED = "TRANSACTION_UNFOUNDED"
    RESERVATION_UNREADABLE = "RESERVATION_UNREADABLE"
    HOLD_UNFOUNDED = "HOLD_UNFOUNDED"
    HOLD_DIFFERS = "HOLD_DIFFERS"
    HOLD_MISSING = "HOLD_MISSING"
    RESERVED_DIFFERS = "RESERVED_DIFFERS"
    TOTAL_DIFFERS = "TOTAL_DIFFERS"
    POT_UNREADABLE = "POT_UNREADABLE"
    POT_DIFFERS = "POT_DIFFERS"
    POT_MISSING = "POT_MISSING"
    EXPIRY_DIFFERS = "EXPIRY_DIFFERS"
    INDEX_DIFFERS = "INDEX_DIFFERS"


_GRAVITY = {what: rank for rank, what in enumerate(What)}


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is not as it must be.

    `where` is the key of the store, with the field behind a space where the key is a hash; `seq` the first
    bad entry of the account's ledger, where there is one.
    """

    what: What
    where: str
    account_id: str | None = None
    seq: int | None = None
    expected: Value = None
    found: Value = None


class Findings:
    """Collects findings, one for each place: whatever is found there later follows from the first."""

    def __init__(self) -> None:
        self.omitted = 0
        self._by_place: dict[str, Finding] = {}

    def add(self, finding: Finding | None) -> bool:
        """Take the result of a check; True when it is a finding."""
        if finding is None:
            return False
        if finding.where in self._by_place:
            return True
        if len(self._by_place) < MOST_FINDINGS:
            self._by_place[finding.where] = finding
        else:
            self.omitted += 1
        return True

    def all(self) -> list[Finding]:
        """The findings, gravest first."""
        return sorted(self._by_place.values(), key=lambda each: (_GRAVITY[each.what], each.where))


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
        self.seq, self.checksum, self.balance = place, digest, entry.balance_after
        self.entries += 1
        return entry

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

    def _altered(self, element: bytes, why: str, where: str) -> Finding:
        stored, _, canonical = element.partition(b" ")
        expected, found = stored.decode(errors="replace"), checksum(canonical)
        place = self._next_seq(0 if b'"seq":0,' in canonical else 1)
        return self._finding(What.ENTRY_ALTERED, where, place, expected, found if found != expected else why)

    def _finding(self, what: What, where: str, seq: int, expected: Value, found: Value) -> Finding:
        return Finding(
            what=what, where=where, account_id=self.account_id, seq=seq, expected=expected, found=found
        )


def differing(
    what: What, where: str, expected: Value, found: Value, account_id: str | None = None
) -> Finding | None:
    """The finding that two values differ which must not."""
    if expected == found:
        return None
    return Finding(what=what, where=where, account_id=account_id, expected=expected, found=found)


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


def check_pot(pot: Pot, where: str) -> Finding | None:
    """A pot's record adds up: its seats, its entries, and what was paid out of it."""
    put_in = sum(each.amount for each in pot.contributions)
    moved = sum(entry.amount for entry in pot.entries)
    paid = sum(result.amount for result in pot.results) + pot.rake_amount
    expected = pot.total if pot.status == SETTLED else 0
    return (
        differing(What.POT_DIFFERS, f"{where} total", put_in, pot.total)
        or differing(What.POT_DIFFERS, f"{where} entries", pot.chips, moved)
        or differing(What.POT_DIFFERS, f"{where} results", expected, paid)
    )


def check_chips(pot: Pot | None, listed: Value, where: str) -> Finding | None:
    """An active pot's chips are listed at its table; those of no other are."""
    chips = pot.chips if pot and pot.status == ACTIVE else None
    return differing(What.POT_MISSING, f"{where} chips", chips, listed)


def check_start(pot: Pot | None, start: Value, where: str) -> Finding | None:
    """An active pot is in the index of active ones, with its start; no other is."""
    begun = pot.created_at if pot and pot.status == ACTIVE else None
    return differing(What.POT_MISSING, f"{where} start", begun, start)


Tally = Mapping[str, int]
"""Sums and counts under the names by which a partition keeps its totals; a missing one is 0."""

ACCOUNTS = "accounts"
ENTRIES = "entries"
BALANCES = f"{CURRENCY}|balances"
HOUSE = f"{CURRENCY}|house"
HELD_CHIPS = f"{CURRENCY}|held"
IN_PLAY = f"{CURRENCY}|inPlay"
IN_POTS = f"{CURRENCY}|inPots"


def sum_of(kind: TransactionType) -> str:
    """The name of the sum of all entries of a type, in signed chips."""
    return f"{CURRENCY}|type|{kind}"


OF_LEDGERS = frozenset({ENTRIES, *map(sum_of, TransactionType)})
"""The totals that are recomputed from ledger entries."""

TOTALS = (ACCOUNTS, BALANCES, HOUSE, HELD_CHIPS, IN_PLAY, IN_POTS, *sorted(OF_LEDGERS))
"""The totals that are recomputed at all."""


def check_total(name: str, tally: Tally, totals: Mapping[str, str], where: str) -> Finding | None:
    """One total of a partition is what its records add up to."""
    return differing(What.TOTAL_DIFFERS, f"{where} {name}", str(tally.get(name, 0)), totals.get(name, "0"))


class Supply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The supply equation (DESIGN 1 and 7), in chips:
    accounts + in play - table deficits + in pots + house = deposits - withdrawals.

    `accounts` are the players', `house` is what the rake has made. `table_deficits` are chips that left
    tables without having been brought there (TABLE_BANK=observe), so that `in_play` counts only what players
    really have on tables. `difference` is left side minus right.
    """

    deposits: int
    withdrawals: int
    accounts: int
    in_play: int
    table_deficits: int
    in_pots: int
    house: int
    difference: int

    @property
    def present(self) -> int:
        """The chips that are there."""
        return self.accounts + self.in_play - self.table_deficits + self.in_pots + self.house


def supply_of(tally: Tally, table_deficits: int) -> Supply:
    """The supply equation with the numbers of a tally of the whole store."""
    deposits = sum(tally.get(sum_of(kind), 0) for kind in SOURCES)
    withdrawals = -tally.get(sum_of(TransactionType.WITHDRAW), 0)
    accounts, house = tally.get(BALANCES, 0), tally.get(HOUSE, 0)
    in_play, in_pots = tally.get(IN_PLAY, 0), tally.get(IN_POTS, 0)
    return Supply(
        deposits=deposits,
        withdrawals=withdrawals,
        accounts=accounts,
        in_play=in_play + table_deficits,
        table_deficits=table_deficits,
        in_pots=in_pots,
        house=house,
        difference=accounts + in_play + in_pots + house - (deposits - withdrawals),
    )


def check_supply(supply: Supply) -> Finding | None:
    """No chip was made or lost."""
    expected = supply.deposits - supply.withdrawals
    return differing(What.SUPPLY_DIFFERS, "the whole store", expected, expected + supply.difference)


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of an audit.

    `supply` is recomputed from the records, `totals` the same equation as the store's totals have it;
    `reservations` counts reservation records, ended ones too. `omitted` findings are not in the list.
    """

    ok: bool
    accounts: int
    entries: int
    reservations: int
    supply: Supply
    totals: Supply
    findings: list[Finding]
    omitted: int = 0

    @property
    def first_bad_entry(self) -> Finding | None:
        """The gravest finding that names an entry."""
        return next((each for each in self.findings if each.seq is not None), None)
