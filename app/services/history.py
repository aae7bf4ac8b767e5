"""What has happened on an account: its transactions and its ledger, to read."""

from typing import Protocol

import msgspec

from app.domain.ledger import LedgerEntry


class Transactions(msgspec.Struct, frozen=True, kw_only=True):
    """One page of an account's transactions, newest first; `total` counts those on all pages."""

    entries: list[LedgerEntry]
    total: int


class Link(msgspec.Struct, frozen=True):
    """An entry of the ledger with its checksum, which the next entry repeats."""

    checksum: str
    entry: LedgerEntry


class LedgerWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest links of a window of time, newest first; `total` counts all in the window.

    `latest_checksum` is that of the whole ledger's last entry, GENESIS where there is none.
    """

    links: list[Link]
    total: int
    latest_checksum: str


class History(Protocol):
    """Consistent reads: the head is fixed first, and what is older never changes.

    All raise Unavailable when the store is away, and give None when there is no such account.
    """

    async def transactions(
        self, account_id: str, *, kind: str = "", offset: int = 0, limit: int
    ) -> Transactions | None:
        """The account's transactions behind the `offset` newest; of one type where `kind` names it."""
        ...

    async def ledger(
        self, account_id: str, *, since: int | None = None, until: int | None = None, limit: int
    ) -> LedgerWindow | None:
        """The account's ledger from `since` to `until` (ms since the epoch, both inclusive)."""
        ...

    async def transaction(self, transaction_id: str) -> LedgerEntry | None:
        """The entry of that transaction, on whichever account it is."""
        ...
