"""The commands of the service: what a caller wants done to one account, reservation or pot.

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
        """What the command is about: an account, a table, or a reservation whose id names its partition."""
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


PAYOUT = "PAYOUT"
PAYOUT_TYPES = frozenset({PAYOUT, "BONUS", "REFERRAL"})


class Payout(AccountCommand, frozen=True):
    """Pay `amount` chips to the account; opens it when needed. `type` is PAYOUT, BONUS or REFERRAL."""

    amount: int
    type: str = PAYOUT
    reason: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One payout of those that are paid together: a line of a batch, with its own key."""

    line: int
    key: str
    account_id: str
    amount: int
    type: str = PAYOUT
    reason: str = ""

    @property
    def payout(self) -> Payout:
        """The same as a command of its own: it is found under that one's id."""
        return Payout(account_id=self.account_id, amount=self.amount, type=self.type, reason=self.reason)


class PayTogether(Command, frozen=True):
    """Pay every part or none. Carries no key: each part has one, and is paid once, with whomever."""

    keyed: ClassVar[bool] = False
    batch_id: str
    parts: tuple[Part, ...]

    @property
    def aggregate_id(self) -> str:
        return self.batch_id


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


class FreezeAccount(AccountCommand, frozen=True):
    """Have the account refuse every command of callers until it is unfrozen."""

    keyed: ClassVar[bool] = False
    reason: str = ""


class UnfreezeAccount(AccountCommand, frozen=True):
    """Let a frozen account take commands again, if the end of its ledger is sound."""

    keyed: ClassVar[bool] = False
    reason: str = ""


class Adjust(AccountCommand, frozen=True):
    """Correct the account by `change` (signed chips), pointing to the transaction `corrects`."""

    change: int
    corrects: str
    reason: str = ""


class LeaveTable(AccountCommand, frozen=True):
    """Bring all that the account has in play at the table back to it, however much that is by then."""

    table_id: str
    reason: str = ""


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


class TableCommand(Command, frozen=True):
    """A command on the pot of one hand at one table."""

    table_id: str
    hand_id: str

    @property
    def aggregate_id(self) -> str:
        return self.table_id

    @property
    def pot_key(self) -> tuple[str, str]:
        """Table and hand: which pot is meant."""
        return self.table_id, self.hand_id


class RecordContribution(TableCommand, frozen=True):
    """Put `amount` chips that the account has in play into the pot; the first one opens it.

    `contribution_type` is the caller's word (SMALL_BLIND, CALL, ALL_IN, ...): see `pots.entry_type_of`.
    """

    seat_id: int
    account_id: str
    amount: int
    contribution_type: str = ""


class Winner(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What one seat shall get, or a part of it: parts for one seat, one for each side pot, add up."""

    seat_id: int
    account_id: str
    amount: int


TO_ACCOUNT = "ACCOUNT"
TO_TABLE = "TABLE"
PAYOUT_PLACES = frozenset({TO_ACCOUNT, TO_TABLE})


class SettlePot(TableCommand, frozen=True):
    """Pay the whole pot, less rake, to the winners: to their accounts, or back in play.

    The amounts are those of the whole pot, or those of the pot less rake (DESIGN 7).
    """

    winners: tuple[Winner, ...]
    payout_to: str = TO_ACCOUNT
    folded_seat_ids: tuple[int, ...] = ()


class CancelPot(TableCommand, frozen=True):
    """Put the pot's chips back in play of those who contributed."""

    keyed: ClassVar[bool] = False
    reason: str = ""


KINDS: dict[str, type[Command]] = {
    kind.__name__: kind
    for kind in (
        EnsureAccount,
        Deposit,
        Withdraw,
        Payout,
        PayTogether,
        CashOut,
        FreezeAccount,
        UnfreezeAccount,
        Adjust,
        LeaveTable,
        Reserve,
        Commit,
        Release,
        ExpireReservation,
        RecordContribution,
        SettlePot,
        CancelPot,
    )
}
OPS_COMMANDS = (FreezeAccount, UnfreezeAccount, Adjust, LeaveTable)
"""What only ops may have done: malformed from anybody else."""
