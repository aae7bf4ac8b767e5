"""What calls answer, as plain values. Amounts are whole chips."""

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
