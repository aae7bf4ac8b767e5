"""Single records as they stand, to read: pots, tables, reservations."""

from typing import Protocol

import msgspec

from app.domain.pots import Pot
from app.domain.reservations import Reservation


class TableView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The chips on a table: `in_play` by account, below 0 where more has left than was brought there, and
    `pots` by hand.
    """

    table_id: str
    in_play: dict[str, int]
    pots: dict[str, int]

    @property
    def deficit(self) -> int:
        """What the accounts below 0 have taken without having brought it."""
        return -sum(chips for chips in self.in_play.values() if chips < 0)


class Lookups(Protocol):
    """Consistent reads, each of one moment. All raise Unavailable when the store is away."""

    async def pot(self, table_id: str, hand_id: str) -> Pot | None:
        """The pot of the hand; None when there is none, or none any more."""
        ...

    async def table(self, table_id: str) -> TableView:
        """What lies on the table; a table nobody has heard of has nothing on it."""
        ...

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """The reservation, EXPIRED as soon as its time is over; None when there is none, or none any more."""
        ...

    async def reservations(self, account_id: str) -> list[Reservation]:
        """What is held on the account now, the soonest to expire first."""
        ...
