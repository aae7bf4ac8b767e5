"""What makes a command malformed: refused at the front end, whatever the state (CONTRACT 1 and 3)."""

from collections.abc import Callable, Mapping

from app.domain.amounts import MAX_CHIPS, is_amount
from app.domain.commands import (
    OPS_COMMANDS,
    PAYOUT_PLACES,
    PAYOUT_TYPES,
    Command,
    Part,
    TableCommand,
    Winner,
    Withdraw,
)
from app.domain.identifiers import MAX_KEY_LENGTH, is_caller_id, is_house_id, is_key, partition_in

MAX_TIMEOUT_SECONDS = 86_400
MAX_SEAT_ID = 2**31 - 1
MAX_TEXT_LENGTH = 255
MAX_CONTRIBUTION_TYPE_LENGTH = 64
MAX_WINNERS = 64
"""Winners named in one settlement (CONTRACT 1)."""
MAX_PARTS = 128
"""Payouts that are paid together."""


class Malformed(ValueError):
    """A request that no state could make acceptable.

    `field` (snake_case) names what is wrong, `code` is the machine code that HTTP shows.
    """

    def __init__(self, field: str, text: str, code: str = "INVALID_REQUEST") -> None:
        super().__init__(f"{field} {text}")
        self.field = field
        self.code = code


class TooMany(Malformed):
    """A request that is larger than the service takes."""


def check_command(command: Command, key: str, *, by_ops: bool = False) -> None:
    """Raise Malformed, naming the field, unless command and idempotency key are well formed.

    Ops may withdraw from a house account; for any other command, and anybody else, its id is malformed. So
    is a command of ops from anybody else.
    """
    if isinstance(command, OPS_COMMANDS) and not by_ops:
        raise Malformed("kind", "is for ops")
    of_house = by_ops and isinstance(command, Withdraw) and is_house_id(command.account_id)
    checks = _CHECKS_ON_POTS if isinstance(command, TableCommand) else _CHECKS
    for field in command.__struct_fields__:
        if not (of_house and field == "account_id"):
            checks[field](field, getattr(command, field))
    if not command.keyed:
        if key:
            raise Malformed("idempotency_key", f"is not taken by {command.kind}")
    elif not key:
        raise Malformed("idempotency_key", "is missing", "MISSING_IDEMPOTENCY_KEY")
    elif not is_key(key):
        raise Malformed("idempotency_key", f"must be 1 to {MAX_KEY_LENGTH} printable characters")


def check_account_id(field: str, value: object) -> None:
    """Raise Malformed unless `value` is an id that a caller may use for an account."""
    _check_id(field, value, "INVALID_ACCOUNT_ID")


def check_any_account_id(field: str, value: str) -> None:
    """Raise Malformed unless `value` is an account's id, a house account's too."""
    if not is_house_id(value):
        check_account_id(field, value)


def check_ids(**ids: str) -> None:
    """Raise Malformed unless each named id of a read is well formed, and there."""
    for field, value in ids.items():
        _CHECKS_ON_POTS[field](field, value)


def check_present(**texts: str) -> None:
    """Raise Malformed unless each named text is there, and short."""
    for field, value in texts.items():
        _check_present(field, value)


def _check_id(field: str, value: object, code: str = "INVALID_REQUEST") -> None:
    if not value:
        raise Malformed(field, "is missing", code)
    if not (isinstance(value, str) and is_caller_id(value)):
        raise Malformed(field, "must match [A-Za-z0-9._:@-]{1,128}", code)


def _check_optional_id(field: str, value: object) -> None:
    if value != "":
        _check_id(field, value)


def _check_amount(field: str, value: object) -> None:
    if not is_amount(value):
        raise Malformed(field, f"must be a whole number from 1 to {MAX_CHIPS}", "INVALID_AMOUNT")


def _check_optional_amount(field: str, value: object) -> None:
    if type(value) is not int or value != 0:
        _check_amount(field, value)


def _check_whole(limit: int) -> Callable[[str, object], None]:
    def check(field: str, value: object) -> None:
        if type(value) is not int or not 0 <= value <= limit:
            raise Malformed(field, f"must be a whole number from 0 to {limit}")

    return check


def _check_printable(limit: int) -> Callable[[str, object], None]:
    def check(field: str, value: object) -> None:
        if not (isinstance(value, str) and len(value) <= limit and value.isprintable()):
            raise Malformed(field, f"must be at most {limit} printable characters")

    return check


_check_seat_id = _check_whole(MAX_SEAT_ID)
_check_text = _check_printable(MAX_TEXT_LENGTH)


def _check_present(field: str, value: object) -> None:
    if not value:
        raise Malformed(field, "is missing")
    _check_text(field, value)


def _check_one_of(allowed: frozenset[str]) -> Callable[[str, object], None]:
    def check(field: str, value: object) -> None:
        if value not in allowed:
            raise Malformed(field, f"must be one of {', '.join(sorted(allowed))}")

    return check


def _check_change(field: str, value: object) -> None:
    if type(value) is not int or not is_amount(abs(value)):
        raise Malformed(
            field, f"must be a whole number from -{MAX_CHIPS} to {MAX_CHIPS}, not 0", "INVALID_AMOUNT"
        )


def _check_transaction_id(field: str, value: object) -> None:
    if not isinstance(value, str) or partition_in(value) is None:
        raise Malformed(field, "must be the id of a transaction")


def _check_winners(field: str, value: object) -> None:
    if not value:
        raise Malformed(field, "are missing")
    if not isinstance(value, tuple):
        raise Malformed(field, "must be a list")
    if len(value) > MAX_WINNERS:
        raise TooMany(field, f"are more than {MAX_WINNERS}")
    for place, winner in enumerate(value):
        if not isinstance(winner, Winner):
            raise Malformed(f"{field}[{place}]", "must be a winner")
        _check_seat_id(f"{field}[{place}].seat_id", winner.seat_id)
        check_account_id(f"{field}[{place}].account_id", winner.account_id)
        _check_amount(f"{field}[{place}].amount", winner.amount)


def _check_seat_ids(field: str, value: object) -> None:
    if not isinstance(value, tuple):
        raise Malformed(field, "must be a list")
    for place, seat_id in enumerate(value):
        _check_seat_id(f"{field}[{place}]", seat_id)
    if len(set(value)) < len(value):
        raise Malformed(field, "name a seat twice")


def _check_parts(field: str, value: object) -> None:
    if not value:
        raise Malformed(field, "are missing")
    if not isinstance(value, tuple) or len(value) > MAX_PARTS:
        raise Malformed(field, f"must be a list of at most {MAX_PARTS}")
    for place, part in enumerate(value):
        if not isinstance(part, Part):
            raise Malformed(f"{field}[{place}]", "must be a part")
        _check_whole(2**53 - 1)(f"{field}[{place}].line", part.line)
        check_command(part.payout, part.key)
    if len({(part.account_id, part.key) for part in value}) < len(value):
        raise Malformed(field, "name a key of an account twice")


_CHECKS: Mapping[str, Callable[[str, object], None]] = {
    "account_id": check_account_id,
    "table_id": _check_id,
    "hand_id": _check_optional_id,
    "reservation_id": _check_present,
    "amount": _check_amount,
    "initial_balance": _check_optional_amount,
    "change": _check_change,
    "corrects": _check_transaction_id,
    "seat_id": _check_seat_id,
    "timeout_seconds": _check_whole(MAX_TIMEOUT_SECONDS),
    "type": _check_one_of(PAYOUT_TYPES),
    "source": _check_text,
    "reason": _check_text,
    "batch_id": _check_id,
    "parts": _check_parts,
}
_CHECKS_ON_POTS: Mapping[str, Callable[[str, object], None]] = {
    **_CHECKS,
    "hand_id": _check_id,
    "contribution_type": _check_printable(MAX_CONTRIBUTION_TYPE_LENGTH),
    "winners": _check_winners,
    "payout_to": _check_one_of(PAYOUT_PLACES),
    "folded_seat_ids": _check_seat_ids,
}
