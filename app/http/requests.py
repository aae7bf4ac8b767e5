"""What callers may send: bodies and queries. They are checked by these, and published as they stand here."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError

from app.domain.validation import Malformed
from app.http.answers import TYPES
from app.http.fields import Amount, Choice, Text, Time, Whole, code_of

MAX_LIMIT = 200
_FIT_TO_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class OpenAccount(_Strict):
    """How an account begins."""

    initial_balance = Amount(low=0, data_key="initialBalance", load_default=0)


class Deposit(_Strict):
    """Chips to make. Source BONUS or REFERRAL gives the transaction that type."""

    amount = Amount(low=1, required=True)
    source = Text(shortest=1, code="MISSING_SOURCE", required=True)


class Withdrawal(_Strict):
    """Chips to take out."""

    amount = Amount(low=1, required=True)
    reason = Text(load_default="")


class TransactionsQuery(_Strict):
    limit = Whole(1, MAX_LIMIT, load_default=50)
    offset = Whole(0, 2**53 - 1, load_default=0)
    type = Choice(*TYPES, load_default=str)


def _no_time() -> None:
    """Not None itself: that would be published as a value that callers may send."""


class LedgerQuery(_Strict):
    limit = Whole(1, MAX_LIMIT, load_default=50)
    since = Time(data_key="from", load_default=_no_time)
    until = Time(data_key="to", load_default=_no_time)


def load(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the schema wants them. Raises Malformed, naming one field that is wrong."""
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        raise _malformed(schema, dict(error.messages_dict)) from None
    return loaded


def _malformed(schema: Schema, messages: dict[str, Any]) -> Malformed:
    for name, field in schema.fields.items():
        if (shown := field.data_key or name) in messages:
            return Malformed(*_first_wrong(shown, messages[shown]), code_of(field))
    unknown = next((name for name in messages if _FIT_TO_NAME.fullmatch(name)), "a field")
    return Malformed(unknown, "is not known here")


def _first_wrong(name: str, told: Any) -> tuple[str, str]:
    """The name and what is wrong with it; of a list, which marshmallow tells by index, the first that is."""
    while isinstance(told, dict):
        index, told = next(iter(told.items()))
        name = f"{name}[{index}]"
    return name, told[0]
