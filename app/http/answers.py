"""What callers get: each answer's schema, as it is published, and beside it what makes the answer."""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate
from msgspec import to_builtins

from app.domain import ledger, reservations
from app.domain.amounts import CURRENCY
from app.domain.outcomes import Answer
from app.services import history, queries
from app.services.times import iso_time

_TYPES_IN_POTS = ("BLIND", "BET", "POT_WIN", "RAKE", "REFUND")
TYPES = tuple(dict.fromkeys((*(kind.value for kind in ledger.TransactionType), *_TYPES_IN_POTS)))
"""Every transaction type (CONTRACT 3); some are entries of pots alone, and no account has them."""
COMPLETED = "COMPLETED"


def _text(name: str | None = None) -> fields.String:
    return fields.String(required=True, data_key=name)


def _chips(low: int | None = 0, **options: Any) -> fields.Integer:
    return fields.Integer(required=True, validate=[] if low is None else validate.Range(low), **options)


def _time(name: str | None = None) -> fields.String:
    return fields.String(required=True, data_key=name, metadata={"format": "date-time"})


def _word(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


class _Answer(Schema):
    class Meta:
        unknown = EXCLUDE  # published: more fields may come


class Error(_Answer):
    """Every answer that is not 2xx: `error` for programs, `message` for people."""

    error = _text()
    message = _text()
    request_id = _text("requestId")


class Health(_Answer):
    status = _word("healthy", "degraded")
    timestamp = _time()
    redis = fields.Boolean(required=True)
    paused = fields.Boolean(required=True)


class Ready(_Answer):
    ready = fields.Boolean(required=True)
    reason = fields.String()


class Balance(_Answer):
    """`availableBalance` is the balance less what is held; `version` counts balance changes."""

    account_id = _text("accountId")
    balance = _chips()
    available_balance = _chips(None, data_key="availableBalance")
    currency = _text()
    version = _chips()


def balance(view: queries.BalanceView) -> dict[str, Any]:
    return {
        "accountId": view.account_id,
        "balance": view.balance,
        "availableBalance": view.available_balance,
        "currency": view.currency,
        "version": view.version,
    }


class Opened(_Answer):
    account_id = _text("accountId")
    balance = _chips()
    currency = _text()
    created = fields.Boolean(required=True)


def opened(account_id: str, answer: Answer) -> dict[str, Any]:
    return {
        "accountId": account_id,
        "balance": answer.balance,
        "currency": CURRENCY,
        "created": answer.created,
    }


class Metadata(_Answer):
    corrects = fields.String()
    hand_id = fields.String(data_key="handId")
    reason = fields.String()
    reservation_id = fields.String(data_key="reservationId")
    seat_id = fields.Integer(data_key="seatId")
    source = fields.String()
    table_id = fields.String(data_key="tableId")


class Transaction(_Answer):
    """A balance change; `amount` is positive, the type says which way."""

    transaction_id = _text("transactionId")
    type = _word(*TYPES)
    amount = _chips(1)
    balance_before = _chips(data_key="balanceBefore")
    balance_after = _chips(data_key="balanceAfter")
    status = _word("COMPLETED")
    created_at = _time("createdAt")
    completed_at = _time("completedAt")


def transaction(answer: Answer) -> dict[str, Any]:
    at = iso_time(answer.timestamp)
    return {
        "transactionId": answer.transaction_id,
        "type": answer.type,
        "amount": answer.amount,
        "balanceBefore": answer.balance_before,
        "balanceAfter": answer.balance,
        "status": COMPLETED,
        "createdAt": at,
        "completedAt": at,
    }


class PastTransaction(Transaction):
    """A balance change with what else is known of it."""

    metadata = fields.Nested(Metadata, required=True)


def past_transaction(entry: ledger.LedgerEntry) -> dict[str, Any]:
    at = iso_time(entry.timestamp)
    return {
        "transactionId": entry.transaction_id,
        "type": entry.type.value,
        "amount": abs(entry.amount),
        "balanceBefore": entry.balance_before,
        "balanceAfter": entry.balance_after,
        "status": COMPLETED,
        "createdAt": at,
        "completedAt": at,
        "metadata": to_builtins(entry.metadata),
    }


class Transactions(_Answer):
    transactions = fields.List(fields.Nested(PastTransaction), required=True)
    total = _chips()
    limit = _chips()
    offset = _chips()


def transactions(page: history.Transactions, limit: int, offset: int) -> dict[str, Any]:
    return {
        "transactions": [past_transaction(entry) for entry in page.entries],
        "total": page.total,
        "limit": limit,
        "offset": offset,
    }


class LedgerEntry(_Answer):
    """A link of the hash chain; `amount` is signed, `previousChecksum` the `checksum` of the entry before."""

    entry_id = _text("entryId")
    account_id = _text("accountId")
    transaction_id = _text("transactionId")
    type = _word(*TYPES)
    amount = _chips(None)
    balance_before = _chips(data_key="balanceBefore")
    balance_after = _chips(data_key="balanceAfter")
    metadata = fields.Nested(Metadata, required=True)
    timestamp = _time()
    previous_checksum = _text("previousChecksum")
    checksum = _text()


def ledger_entry(link: history.Link) -> dict[str, Any]:
    entry = link.entry
    return {
        "entryId": entry.entry_id,
        "accountId": entry.account_id,
        "transactionId": entry.transaction_id,
        "type": entry.type.value,
        "amount": entry.amount,
        "balanceBefore": entry.balance_before,
        "balanceAfter": entry.balance_after,
        "metadata": to_builtins(entry.metadata),
        "timestamp": iso_time(entry.timestamp),
        "previousChecksum": entry.previous_checksum,
        "checksum": link.checksum,
    }


class Ledger(_Answer):
    """`total` counts the entries of the window; `latestChecksum` is that of the account's last entry."""

    entries = fields.List(fields.Nested(LedgerEntry), required=True)
    total = _chips()
    latest_checksum = _text("latestChecksum")


def ledger_window(window: history.LedgerWindow) -> dict[str, Any]:
    return {
        "entries": [ledger_entry(link) for link in window.links],
        "total": window.total,
        "latestChecksum": window.latest_checksum,
    }


class Reservation(_Answer):
    reservation_id = _text("reservationId")
    account_id = _text("accountId")
    table_id = _text("tableId")
    amount = _chips(1)
    status = _word("HELD")
    created_at = _time("createdAt")
    expires_at = _time("expiresAt")


def reservation(held: reservations.Reservation) -> dict[str, Any]:
    return {
        "reservationId": held.reservation_id,
        "accountId": held.account_id,
        "tableId": held.table_id,
        "amount": held.amount,
        "status": held.status,
        "createdAt": iso_time(held.created_at),
        "expiresAt": iso_time(held.expires_at),
    }


class Reservations(_Answer):
    reservations = fields.List(fields.Nested(Reservation), required=True)
