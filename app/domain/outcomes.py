"""Every way a command can end, in order of precedence, and which refusals stick to their key.

Sources: CONTRACT 3 (codes), DESIGN 5 (order of checks) and 6 (what sticks).
"""

from enum import StrEnum, auto, unique
from typing import Any

import msgspec

from app.domain.pots import SettlementResult


@unique
class Outcome(StrEnum):
    """How a command ended. Checked in this order; the first that holds is the answer."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> str:
        return name

    IDEMPOTENCY_KEY_REUSED = auto()
    DEAD_LETTERED = auto()
    EXPIRED = auto()
    DROPPED = auto()
    RESERVATION_NOT_FOUND = auto()
    ALREADY_COMMITTED = auto()
    RESERVATION_NOT_HELD = auto()
    POT_NOT_FOUND = auto()
    POT_NOT_ACTIVE = auto()
    ACCOUNT_FROZEN = auto()
    RESERVATION_EXPIRED = auto()
    ACCOUNT_NOT_FOUND = auto()
    SEAT_TAKEN = auto()
    SETTLEMENT_MISMATCH = auto()
    SETTLEMENT_NOT_ELIGIBLE = auto()
    INVALID_AMOUNT = auto()
    HOLD_LIMIT = auto()
    POT_LIMIT = auto()
    NOT_ON_TABLE = auto()
    INSUFFICIENT_BALANCE = auto()
    OK = auto()

    @property
    def sticks(self) -> bool:
        """True when this refusal is kept under its key and answered again for 24 hours."""
        return self not in _NOT_OF_THE_CALLER


_NOT_OF_THE_CALLER = frozenset(
    {
        Outcome.OK,  # what was applied is remembered for ever, by its own record
        Outcome.IDEMPOTENCY_KEY_REUSED,  # the key already has its record
        Outcome.DEAD_LETTERED,  # parked: kept without expiry, by the parking itself
        Outcome.EXPIRED,
        Outcome.DROPPED,
        Outcome.ACCOUNT_FROZEN,
        Outcome.HOLD_LIMIT,  # shed: holds end by themselves
        Outcome.POT_LIMIT,  # shed: pots end too
        Outcome.POT_NOT_FOUND,  # a contribution may be late
        Outcome.SETTLEMENT_MISMATCH,
    }
)


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What a caller is told. Amounts in chips, `timestamp` in ms since the epoch (UTC).

    `balance` is the account's balance after the command; a field that the command has no use for stays
    at its default. `total_pot` and `seat_contribution` are as the contribution left them. `detail` names
    the dead letter of a DEAD_LETTERED command, or the field that was wrong.
    """

    outcome: Outcome = Outcome.OK
    replayed: bool = False
    transaction_id: str = ""
    reservation_id: str = ""
    type: str = ""
    amount: int = 0
    balance_before: int = 0
    balance: int = 0
    available_balance: int = 0
    created: bool = False
    timestamp: int = 0
    detail: str = ""
    total_pot: int = 0
    seat_contribution: int = 0
    results: tuple[SettlementResult, ...] = ()

    @property
    def ok(self) -> bool:
        """True when the command was applied, now or earlier."""
        return self.outcome is Outcome.OK
