"""The commands of the service: what a caller wants done to one account or reservation.

Shapes only: `validation` says what makes one malformed, `rules` what it does.
"""

from typing import ClassVar

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One thing to do to one aggregate. A `keyed` command carries an idempotency key."""

    keyed: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """The name of the command in envelopes, fingerprints and derived ids."""
        return type(self).__name__

    @property
    def aggregate_id(self) -> str:
        """What the command is about: an account, or a reservation whose id names its partition."""
        raise TypeError(f"{self.kind} is no command by itself")


class AccountCommand(Command, frozen=True):
    """A command that names its account."""

    account_id: str

    @property
    def aggregate_id(self) -> str:
        return self.account_id


class EnsureAccount(AccountCommand, frozen=True):
    """Open the account unless it exists. `initial_balance` chips are its first deposit."""

    keyed: ClassVar[bool] = False
    initial_balance: int = 0


class Deposit(AccountCommand, frozen=True):
    """Make `amount` chips on the account; opens it when needed. `source` BONUS or REFERRAL is that type."""

    amount: int
    source: str = ""


class Withdraw(AccountCommand, frozen=True):
    """Take `amount` available chips out of the account and of the supply."""

    amount: int
    reason: str = ""


class Payout(AccountCommand, frozen=True):
    """Pay `amount` chips to the account; opens it when needed. `type` is PAYOUT, BONUS or REFERRAL."""

    amount: int
    type: str = "PAYOUT"
    reason: str = ""


class CashOut(AccountCommand, frozen=True):
    """Bring `amount` chips from the table back to the account."""

    table_id: str
    amount: int
    seat_id: int = 0
    hand_id: str = ""


class Reserve(AccountCommand, frozen=True):
    """Hold `amount` chips for a buy-in. `timeout_seconds` 0 means the service's default."""

    table_id: str
    amount: int
    timeout_seconds: int = 0


class ReservationCommand(Command, frozen=True):
    """A command that names only a reservation; it answers from the state and carries no key."""

    keyed: ClassVar[bool] = False
    reservation_id: str

    @property
    def aggregate_id(self) -> str:
        return self.reservation_id


class Commit(ReservationCommand, frozen=True):
    """Turn a held reservation into a buy-in."""


class Release(ReservationCommand, frozen=True):
    """Give a held reservation back."""

    reason: str = ""


class ExpireReservation(ReservationCommand, frozen=True):
    """End a held reservation that is past its time; anything else is left as it is."""


KINDS: dict[str, type[Command]] = {
    kind.__name__: kind
    for kind in (
        EnsureAccount,
        Deposit,
        Withdraw,
        Payout,
        CashOut,
        Reserve,
        Commit,
        Release,
        ExpireReservation,
    )
}
PAYOUT_TYPES = frozenset({"PAYOUT", "BONUS", "REFERRAL"})
