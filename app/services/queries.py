"""Reads that need no queue: straight from the store, each a consistent picture."""

from typing import Protocol

import msgspec

from app.domain.amounts import CURRENCY


class BalanceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What GetBalance shows, and what ops see beside it. Chips; `version` counts balance changes."""

    account_id: str
    balance: int = 0
    available_balance: int = 0
    reserved: int = 0
    currency: str = CURRENCY
    version: int = 0
    status: str = ""
    exists: bool = False
    stale: bool = False
    as_of: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a front end knows of the store and of the partitions' owners. `reason` is "" when all is well."""

    store: bool
    writable: bool
    unowned_partitions: int
    reason: str = ""

    @property
    def ready(self) -> bool:
        """True when the store takes writes and every partition has an owner."""
        return self.store and self.writable and self.unowned_partitions == 0


class Queries(Protocol):
    """Consistent reads for front ends and command line."""

    async def balance(self, account_id: str) -> BalanceView:
        """The account as it is now; zeros and `exists` False when there is none.

        When the store is away: the last value this process answered, at most 60 s old, marked stale;
        raises Unavailable when there is none.
        """
        ...

    async def health(self) -> Health:
        """Whether commands can be carried out now. Never raises."""
        ...
