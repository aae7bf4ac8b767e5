"""The hash-chained ledger of an account: entries, their canonical form, and the links between them.

An element of the chain is `CHECKSUM SPACE JSON`: the checksum is SHA-256, hex, over those very JSON bytes
(RFC 8785: members in order, integers only, no nulls), which hold the checksum of the element before.
"""

from enum import StrEnum
from hashlib import sha256

import msgspec

RECORD_VERSION = 1
VERSION_FIELD = msgspec.field(default_factory=lambda: RECORD_VERSION)
"""The `v` of a record. A plain default would be left out, and an old record would read as a new one."""
GENESIS = "GENESIS"


class TransactionType(StrEnum):
    """What a balance change was for (CONTRACT 3). The other types there are entries of a pot."""

    DEPOSIT = "DEPOSIT"
    WITHDRAW = "WITHDRAW"
    BUY_IN = "BUY_IN"
    CASH_OUT = "CASH_OUT"
    BONUS = "BONUS"
    REFERRAL = "REFERRAL"
    PAYOUT = "PAYOUT"
    POT_WIN = "POT_WIN"
    RAKE = "RAKE"


SOURCES = frozenset(
    {TransactionType.DEPOSIT, TransactionType.BONUS, TransactionType.REFERRAL, TransactionType.PAYOUT}
)
"""The types that make chips; WITHDRAW is the one that ends them (the supply equation, CONTRACT 3)."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What else is known of a transaction. Members stand in alphabetical order (RFC 8785)."""

    corrects: str | None = None
    hand_id: str | None = None
    reason: str | None = None
    reservation_id: str | None = None
    seat_id: int | None = None
    source: str | None = None
    table_id: str | None = None


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One balance change; holds the whole transaction. Members stand in alphabetical order (RFC 8785).

    `amount` is signed chips, `timestamp` ms since the epoch (UTC), `seq` the place in the account's chain:
    0 for an initial balance, else the account's version after the change.
    """

    account_id: str
    amount: int
    balance_after: int
    balance_before: int
    command_id: str | None = None
    entry_id: str
    idempotency_key: str | None = None
    metadata: Metadata
    previous_checksum: str
    seq: int
    timestamp: int
    transaction_id: str
    type: TransactionType
    v: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LedgerEntry).decode


class BrokenChain(ValueError):
    """An element that is not what its checksum, or its account, says."""


class UnknownVersion(BrokenChain):
    """An entry that a newer release has written: nothing is wrong with it, but it must not be guessed."""


def entry_id(account_id: str, seq: int) -> str:
    """The id of an entry: its account and its place in that account's chain."""
    return f"{account_id}|{seq}"


def checksum(canonical: bytes) -> str:
    """SHA-256, hex, of an entry's canonical JSON."""
    return sha256(canonical).hexdigest()


def seal(entry: LedgerEntry) -> tuple[str, str]:
    """The entry's checksum and its element as it is stored."""
    canonical = _encode(entry)
    digest = checksum(canonical)
    return digest, f"{digest} {canonical.decode()}"


def unseal(element: bytes) -> tuple[str, LedgerEntry]:
    """The checksum and the entry of a stored element. Raises BrokenChain when they do not belong together.

    An entry of another release raises UnknownVersion, a BrokenChain that is nobody's fault.
    """
    digest, _, canonical = element.partition(b" ")
    if checksum(canonical).encode() != digest:
        raise BrokenChain("checksum does not match the entry")
    try:
        entry = _decode(canonical)
    except msgspec.MsgspecError as error:
        raise BrokenChain(f"unreadable entry: {error}") from error
    if entry.v != RECORD_VERSION:
        raise UnknownVersion(f"unknown entry version {entry.v}")
    return digest.decode(), entry
