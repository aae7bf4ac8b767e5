"""What calls answer, as plain values.

Amounts are whole chips; times are UTC, ISO 8601 with milliseconds and Z, "" where there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds, and what of it is free. Zeros for an account that does not exist.

    `stale` values are the last known ones, of the time `as_of` (UTC, ISO 8601): the store is away.
    """

    account_id: str
    balance: int
    available_balance: int
    currency: str
    version: int
    stale: bool
    as_of: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account that exists now; `created` when this call opened it."""

    account_id: str
    balance: int
    created: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """A change of an account's balance, and the balance right after it."""

    transaction_id: str
    new_balance: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Chips held for a seat. They are still on the account, but no longer available."""

    reservation_id: str
    available_balance: int


@dataclass(frozen=True, slots=True)
class Released:
    """The hold has ended without a buy-in."""

    available_balance: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """The pot after a blind or a bet, and what that seat has put into it so far."""

    total_pot: int
    seat_contribution: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What one winner was paid: `amount`, whatever the caller asked for. Rake is off already."""

    account_id: str
    transaction_id: str
    amount: int
    new_balance: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A pot that was paid, winner by winner in seat order."""

    payouts: tuple[Payout, ...]


@dataclass(frozen=True, slots=True)
class PotCancelled:
    """The pot's chips are back in play of those who contributed."""


@dataclass(frozen=True, slots=True)
class SeatContribution:
    """What a seat has put into a pot so far, and the account it plays for."""

    seat_id: int
    account_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class SidePot:
    """Chips that only these seats may win."""

    amount: int
    seat_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RakeRule:
    """Of pots above `min_pot`, the house takes this many basis points, at most `cap`."""

    basis_points: int
    cap: int
    min_pot: int


@dataclass(frozen=True, slots=True)
class PotEntry:
    """One movement of chips, positive into the pot. `type`: BLIND, BET, POT_WIN, RAKE or REFUND.

    `contribution_type` is the poker service's own word. A RAKE has no seat: 0.
    """

    type: str
    seat_id: int
    account_id: str
    amount: int
    contribution_type: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Pot:
    """The pot of a hand as it stands: ACTIVE, SETTLED or CANCELLED, `total` being all that was put in.

    Contributions and results are in seat order, side pots from the main pot on and before rake; an uncalled
    bet is a last pot of one seat. `rake_rule`, `rake_amount` and `results` come with the settlement.
    """

    table_id: str
    hand_id: str
    status: str
    version: int
    total: int
    contributions: tuple[SeatContribution, ...]
    side_pots: tuple[SidePot, ...]
    rake_amount: int
    rake_rule: RakeRule | None
    results: tuple[Payout, ...]
    entries: tuple[PotEntry, ...]
    created_at: str
    ended_at: str


@dataclass(frozen=True, slots=True)
class Table:
    """The chips on a table: in play by account, and in open pots by hand; then their sums.

    An account below 0 has taken more from the table than was brought there: `deficit` is what they all lack.
    """

    table_id: str
    in_play: Mapping[str, int]
    open_pots: Mapping[str, int]
    total_in_play: int
    total_in_pots: int
    deficit: int


@dataclass(frozen=True, slots=True)
class ReservationRecord:
    """A reservation as it stands: HELD, COMMITTED (then with its transaction), RELEASED or EXPIRED."""

    reservation_id: str
    account_id: str
    table_id: str
    amount: int
    status: str
    created_at: str
    expires_at: str
    ended_at: str
    transaction_id: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A command that is certain to be carried out. `replayed` when it had been submitted before."""

    command_id: str
    status: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What a submitted command was answered; `error` says why it was refused."""

    ok: bool
    error: str
    replayed: bool
    transaction_id: str
    reservation_id: str
    amount: int
    new_balance: int
    available_balance: int


@dataclass(frozen=True, slots=True)
class Command:
    """A submitted command as it stands: `queued`, `done` with an answer, or `parked` with a dead letter."""

    command_id: str
    status: str
    operation: str
    aggregate_id: str
    submitted_at: str
    done_at: str
    dead_letter_id: str
    answer: CommandAnswer | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of payouts as it stands: `items` lines of `total` chips, `sent` queued, `settled` of these.

    Those are paid now, paid before under their key, refused by a rule, or parked for ops; a brief look leaves
    out which. `finished` when nothing more will happen by itself. Of a dry run only the id is known.
    """

    batch_id: str
    items: int
    total: int
    sent: int
    settled: int
    applied: int
    replayed: int
    refused: int
    parked: int
    finished: bool
    created_at: str
    submitted_by: str
    cancelled_at: str


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of a line: applied, replayed, refused or parked. If not paid: why, and what it was."""

    line: int
    status: str
    error: str
    dead_letter_id: str
    account_id: str
    amount: int
    idempotency_key: str
    payout_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchItems:
    """Settled lines in their order; more follow after `next_line`, unless it is 0. A page may be empty."""

    items: tuple[BatchItem, ...]
    next_line: int
