"""Between records and what the server keeps. An unknown record version is refused, never guessed."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from app.domain.accounts import Account
from app.domain.dead_letters import DeadLetter
from app.domain.ledger import RECORD_VERSION
from app.domain.pots import Pot
from app.domain.records import AnswerRecord, RefusalRecord, TransactionRecord
from app.domain.reservations import Hold, Reservation
from app.services.faults import StoreRefused
from app.services.tracking import CommandState, Done, Intent, ItemFailure, Settled, Status
from app.storage import keys

ACCOUNT_FIELDS = (
    "balance",
    "reserved",
    "currency",
    "version",
    "revision",
    "seq",
    "checksum",
    "status",
    "createdBy",
    "createdAt",
    "updatedAt",
)

R = TypeVar("R", Reservation, TransactionRecord, RefusalRecord, AnswerRecord, Pot, Intent, Done)

_encode = msgspec.json.Encoder().encode
_decode_reservation = msgspec.json.Decoder(Reservation).decode
_decode_transaction = msgspec.json.Decoder(TransactionRecord).decode
_decode_refusal = msgspec.json.Decoder(RefusalRecord).decode
_decode_answer = msgspec.json.Decoder(AnswerRecord).decode
_decode_dead_letter = msgspec.json.Decoder(DeadLetter).decode
_decode_pot = msgspec.json.Decoder(Pot).decode
_decode_intent = msgspec.json.Decoder(Intent).decode
_decode_done = msgspec.json.Decoder(Done).decode
_decode_failure = msgspec.json.Decoder(ItemFailure).decode


def encode(record: msgspec.Struct) -> str:
    """A record as JSON text."""
    return _encode(record).decode()


def account_fields(account: Account, revision: int, *, opened: bool) -> list[str | int]:
    """The account's hash, field after value, under its new revision; the fixed fields only when opened."""
    fields: list[str | int] = [
        *("balance", account.balance, "reserved", account.reserved, "version", account.version),
        *("revision", revision, "seq", account.seq, "checksum", account.checksum),
        *("status", account.status, "updatedAt", account.updated_at),
    ]
    if opened:
        fields += [
            "currency",
            account.currency,
            "createdBy",
            account.created_by,
            "createdAt",
            account.created_at,
        ]
    return fields


def account(account_id: str, fields: list[bytes | None]) -> Account | None:
    """The account of an HMGET of ACCOUNT_FIELDS; None when there is none."""
    if fields[4] is None:
        return None
    try:
        balance, reserved, currency, version, revision, seq, checksum, status, by, created, updated = (
            _present(value) for value in fields
        )
        return Account(
            account_id=account_id,
            balance=int(balance),
            reserved=int(reserved),
            currency=currency,
            version=int(version),
            revision=int(revision),
            seq=int(seq),
            checksum=checksum,
            status=status,
            created_by=by,
            created_at=int(created),
            updated_at=int(updated),
        )
    except ValueError as error:
        raise StoreRefused(f"account {account_id} cannot be read: {error}") from error


def _present(value: bytes | None) -> str:
    if value is None:
        raise ValueError("a field is missing")
    return value.decode()


def hold_value(reservation: Reservation) -> str:
    """A hold as the account's index keeps it."""
    return f"{reservation.amount}|{reservation.expires_at}"


def holds(pairs: list[bytes]) -> dict[str, Hold]:
    """The holds of an HGETALL of the account's index."""
    found = {}
    for reservation_id, value in zip(pairs[::2], pairs[1::2], strict=True):
        amount, _, expires_at = value.partition(b"|")
        found[reservation_id.decode()] = Hold(int(amount), int(expires_at))
    return found


def in_play(pairs: list[bytes]) -> dict[str, int]:
    """Chips by account, of an HGETALL of a table."""
    return _chips(pairs, keys.IN_PLAY)


def in_pots(pairs: list[bytes]) -> dict[str, int]:
    """Chips by hand, of an HGETALL of a table."""
    return _chips(pairs, keys.IN_POT)


def _chips(pairs: list[bytes], prefix: str) -> dict[str, int]:
    fields = ((field.decode(), chips) for field, chips in zip(pairs[::2], pairs[1::2], strict=True))
    return {field.removeprefix(prefix): int(chips) for field, chips in fields if field.startswith(prefix)}


def reservation(raw: bytes | None) -> Reservation | None:
    """The reservation of a GET."""
    return _known(_decode_reservation, raw, "reservation")


def transaction(raw: bytes | None) -> TransactionRecord | None:
    """The transaction record of a GET."""
    return _known(_decode_transaction, raw, "transaction")


def refusal(raw: bytes | None) -> RefusalRecord | None:
    """The sticking outcome of a GET."""
    return _known(_decode_refusal, raw, "outcome")


def answer(raw: bytes | None) -> AnswerRecord | None:
    """The kept answer of a GET."""
    return _known(_decode_answer, raw, "answer")


def pot(raw: bytes | None) -> Pot | None:
    """The pot of an HGET of `record`."""
    return _known(_decode_pot, raw, "pot")


def dead_letter(raw: bytes | None) -> DeadLetter | None:
    """The dead letter of an HGET or a GET; None also where this release cannot read it."""
    try:
        letter = _decode_dead_letter(raw) if raw is not None else None
    except msgspec.MsgspecError:
        return None
    return letter if letter is not None and letter.v == RECORD_VERSION else None


def command_state(command_id: str, fields: Sequence[bytes | None]) -> CommandState | None:
    """The state of an HMGET of intent, done and parked; None when nothing is known of the command."""
    raw_intent, raw_done, parked = fields
    intent = _known(_decode_intent, raw_intent, "intent")
    if intent is None:
        return None
    done = _known(_decode_done, raw_done, "state")
    return CommandState(
        command_id=command_id, intent=intent, done=done, dead_letter_id=(parked or b"").decode()
    )


_STATUS_OF_LETTER = {
    b"a": Status.APPLIED,
    b"r": Status.REPLAYED,
    b"f": Status.REFUSED,
    b"p": Status.PARKED,
}


def item_value(settled: Settled) -> str:
    """A settled line of a batch as its hash keeps it: one letter, and of what was not paid why."""
    if settled.failure is None:
        return "r" if settled.replayed else "a"
    return ("p" if settled.failure.dead_letter_id else "f") + encode(settled.failure)


def item_status(value: bytes) -> Status:
    """What the first letter of a settled line says."""
    return _STATUS_OF_LETTER[value[:1]]


def item_failure(value: bytes) -> ItemFailure | None:
    """Why the line was not paid; None where it was."""
    return _decode_failure(value[1:]) if len(value) > 1 else None


def _known(decode: Callable[[bytes], R], raw: bytes | None, what: str) -> R | None:
    if raw is None:
        return None
    try:
        record = decode(raw)
    except msgspec.MsgspecError as error:
        raise StoreRefused(f"{what} record cannot be read: {error}") from error
    if record.v != RECORD_VERSION:
        raise StoreRefused(f"{what} record has unknown version {record.v}")
    return record
