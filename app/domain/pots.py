"""The pot of one hand: who put in what, what became of it, and its life cycle (CONTRACT 3).

ACTIVE to SETTLED or CANCELLED. Chips lie in an ACTIVE pot only; its entries tell every chip's way.
"""

import re
from enum import StrEnum

import msgspec

from app.domain.ledger import VERSION_FIELD
from app.domain.rake import RakeRule

ACTIVE = "ACTIVE"
SETTLED = "SETTLED"
CANCELLED = "CANCELLED"

MAX_POT_ENTRIES = 1_000
"""Contributions to one pot; no hand comes near it, and the record stays readable in one go."""

PotKey = tuple[str, str]
"""Table and hand."""


class EntryType(StrEnum):
    """What an entry of a pot is (CONTRACT 3)."""

    BLIND = "BLIND"
    BET = "BET"
    REFUND = "REFUND"
    POT_WIN = "POT_WIN"
    RAKE = "RAKE"


_FORCED = re.compile(r"blind|straddle|(?<![a-z])antes?(?![a-z])|^(post(ed)?|sb|bb)$", re.IGNORECASE)


def entry_type_of(contribution_type: str) -> EntryType:
    """BLIND for what a seat must put in unasked (blinds, antes, straddles, posts); BET for all else.

    Poker services have many words, and none is wrong: the word itself is kept in the entry.
    """
    return EntryType.BLIND if _FORCED.search(contribution_type) else EntryType.BET


class PotEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One movement of chips, `amount` signed: into the pot positive. `n` counts from 1, time in ms.

    `contribution_type` is the caller's word; `transaction_id` names the ledger entry, where there is one.
    """

    n: int
    type: EntryType
    amount: int
    account_id: str
    timestamp: int
    seat_id: int | None = None
    contribution_type: str = ""
    transaction_id: str = ""


class Contribution(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What a seat has put in so far, and the account it plays for."""

    seat_id: int
    account_id: str
    amount: int


class SidePot(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Chips that only `seats` may win: those who put in at least `level` each. The first is the main pot."""

    amount: int
    level: int
    seats: tuple[int, ...]


class SettlementResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What a seat was paid, less rake, and its account's balance then.

    `transaction_id` is "" where no balance changed: paid back in play, or left with nothing by the rake.
    """

    seat_id: int
    account_id: str
    transaction_id: str
    amount: int
    new_balance: int


class Pot(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The record of a pot. Chips and ms since the epoch (UTC); 0, "" and None where not yet.

    `pot_id` is the record id of the contribution that opened it: table and hand may come back once this
    record is gone, the id never. `contributions` are in seat order, `total` is their sum, whatever has
    become of it. `version` counts the writes (what the commit compares). `pots` to `payout_to` are the
    settlement's.
    """

    v: int = VERSION_FIELD
    pot_id: str
    table_id: str
    hand_id: str
    status: str
    version: int
    created_at: int
    total: int = 0
    contributions: tuple[Contribution, ...] = ()
    entries: tuple[PotEntry, ...] = ()
    pots: tuple[SidePot, ...] = ()
    rake_amount: int = 0
    rake_rule: RakeRule | None = None
    results: tuple[SettlementResult, ...] = ()
    payout_to: str = ""
    settled_at: int = 0
    cancelled_at: int = 0
    reason: str = ""

    @property
    def key(self) -> PotKey:
        """Table and hand."""
        return self.table_id, self.hand_id

    @property
    def chips(self) -> int:
        """What lies in it now."""
        return self.total if self.status == ACTIVE else 0

    def seat(self, seat_id: int) -> Contribution | None:
        """What a seat has put in; None when nothing."""
        return next((each for each in self.contributions if each.seat_id == seat_id), None)

    def by_seat(self) -> dict[int, int]:
        """Chips put in, by seat."""
        return {each.seat_id: each.amount for each in self.contributions}


def open_pot(pot_id: str, key: PotKey, now: int) -> Pot:
    """A pot without chips, as the state holds it until its first write."""
    table_id, hand_id = key
    return Pot(pot_id=pot_id, table_id=table_id, hand_id=hand_id, status=ACTIVE, version=0, created_at=now)


def put_in(pot: Pot, added: Contribution, contribution_type: str, now: int) -> Pot:
    """The pot with one more contribution."""
    before = pot.seat(added.seat_id)
    after = msgspec.structs.replace(added, amount=added.amount + before.amount) if before else added
    others = (each for each in pot.contributions if each is not before)
    entry = PotEntry(
        n=len(pot.entries) + 1,
        type=entry_type_of(contribution_type),
        amount=added.amount,
        account_id=added.account_id,
        timestamp=now,
        seat_id=added.seat_id,
        contribution_type=contribution_type,
    )
    return msgspec.structs.replace(
        pot,
        version=pot.version + 1,
        total=pot.total + added.amount,
        contributions=tuple(sorted((*others, after), key=lambda each: each.seat_id)),
        entries=(*pot.entries, entry),
    )


def cancel(pot: Pot, reason: str, now: int) -> Pot:
    """The pot CANCELLED: each seat is refunded what it has put in."""
    refunds = (
        PotEntry(
            n=n,
            type=EntryType.REFUND,
            amount=-each.amount,
            account_id=each.account_id,
            timestamp=now,
            seat_id=each.seat_id,
        )
        for n, each in enumerate(pot.contributions, len(pot.entries) + 1)
    )
    return msgspec.structs.replace(
        pot,
        status=CANCELLED,
        version=pot.version + 1,
        entries=(*pot.entries, *refunds),
        cancelled_at=now,
        reason=reason,
    )
