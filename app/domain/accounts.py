"""An account and the one way its balance changes: by posting an entry to its ledger."""

import msgspec

from app.domain.amounts import CURRENCY
from app.domain.ledger import (
    GENESIS,
    RECORD_VERSION,
    BrokenChain,
    LedgerEntry,
    Metadata,
    TransactionType,
    entry_id,
    seal,
    unseal,
)

ACTIVE = "ACTIVE"
FROZEN = "FROZEN"
NO_ENTRY = -1
"""`seq` of an account whose ledger is empty."""


class Account(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A player's chips. Amounts in chips, times in ms since the epoch (UTC).

    `reserved` is the sum of the holds kept in the store, past ones included until they are written EXPIRED.
    `version` counts balance changes (what callers see); `revision` counts every write, 1 at creation (what
    the commit compares). `seq` and `checksum` name the ledger's last entry.
    """

    account_id: str
    balance: int
    reserved: int
    currency: str
    version: int
    revision: int
    seq: int
    checksum: str
    status: str
    created_by: str
    created_at: int
    updated_at: int

    @property
    def frozen(self) -> bool:
        """True when the account takes no command until ops clear it."""
        return self.status == FROZEN


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One link of a ledger: the entry and its element as it is stored (see `ledger`)."""

    entry: LedgerEntry
    element: str


def open_account(account_id: str, created_by: str, now: int) -> Account:
    """A new account without chips, as the state holds it until its first write."""
    return Account(
        account_id=account_id,
        balance=0,
        reserved=0,
        currency=CURRENCY,
        version=0,
        revision=0,
        seq=NO_ENTRY,
        checksum=GENESIS,
        status=ACTIVE,
        created_by=created_by,
        created_at=now,
        updated_at=now,
    )


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a posting comes from: the transaction's id and time (ms), the caller's key, the command's id."""

    transaction_id: str
    now: int
    key: str = ""
    command_id: str = ""


def post(
    account: Account,
    amount: int,
    kind: TransactionType,
    metadata: Metadata,
    origin: Origin,
    *,
    initial: bool = False,
) -> tuple[Account, Posting]:
    """The account after `amount` (signed chips) and the ledger link that says so.

    An `initial` posting belongs to the account's creation: entry 0, version unchanged.
    """
    version = account.version if initial else account.version + 1
    entry = LedgerEntry(
        account_id=account.account_id,
        amount=amount,
        balance_after=account.balance + amount,
        balance_before=account.balance,
        command_id=origin.command_id or None,
        entry_id=entry_id(account.account_id, version),
        idempotency_key=origin.key or None,
        metadata=metadata,
        previous_checksum=account.checksum,
        seq=version,
        timestamp=origin.now,
        transaction_id=origin.transaction_id,
        type=kind,
        v=RECORD_VERSION,
    )
    digest, element = seal(entry)
    after = msgspec.structs.replace(
        account,
        balance=entry.balance_after,
        version=version,
        seq=version,
        checksum=digest,
        updated_at=origin.now,
    )
    return after, Posting(entry, element)


def check_tail(account: Account, element: bytes | None) -> None:
    """Raise BrokenChain unless `element` is the entry that the account says is its ledger's last."""
    if element is None:
        if account.seq != NO_ENTRY or account.balance != 0:
            raise BrokenChain("the last entry is missing")
        return
    digest, entry = unseal(element)
    if digest != account.checksum or entry.seq != account.seq or entry.account_id != account.account_id:
        raise BrokenChain("the last entry is not the one the account names")
    if entry.balance_after != account.balance:
        raise BrokenChain(f"balance is {account.balance}, the last entry says {entry.balance_after}")
