"""A reservation: chips of one account held for a buy-in at one table, and its life cycle (CONTRACT 3).

HELD to COMMITTED, RELEASED or EXPIRED. A hold past its time counts for nothing, swept or not.
"""

import msgspec

from app.domain.ledger import VERSION_FIELD

HELD = "HELD"
COMMITTED = "COMMITTED"
RELEASED = "RELEASED"
EXPIRED = "EXPIRED"

MAX_HOLDS = 64
"""Held reservations on one account (CONTRACT 1)."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """The record of a reservation. Chips and ms since the epoch (UTC); 0 and "" where not yet.

    `available_balance` is what was left when it was made, `new_balance` what the commit left: what a
    repeated call answers.
    """

    v: int = VERSION_FIELD
    reservation_id: str
    account_id: str
    table_id: str
    amount: int
    status: str
    created_at: int
    expires_at: int
    fingerprint: str
    available_balance: int
    committed_at: int = 0
    released_at: int = 0
    transaction_id: str = ""
    new_balance: int = 0

    def is_past(self, now: int) -> bool:
        """True when the hold's time is over at `now`."""
        return now >= self.expires_at

    def end(self, status: str, now: int) -> "Reservation":
        """The reservation RELEASED or EXPIRED at `now`."""
        return msgspec.structs.replace(self, status=status, released_at=now)


class Hold(msgspec.Struct, frozen=True, gc=False):
    """What a held reservation takes from the available balance, and until when (ms since the epoch)."""

    amount: int
    expires_at: int


def available(balance: int, holds: dict[str, Hold], now: int) -> int:
    """Balance minus the holds that are not past their time."""
    return balance - sum(hold.amount for hold in holds.values() if hold.expires_at > now)


def past_holds(holds: dict[str, Hold], now: int) -> list[str]:
    """The ids of the reservations whose hold is past its time, but still kept."""
    return [reservation_id for reservation_id, hold in holds.items() if hold.expires_at <= now]
