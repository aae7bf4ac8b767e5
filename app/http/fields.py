"""The kinds of values in requests, each as strict as money needs: what is nearly right is wrong."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields, validate

from app.domain.amounts import MAX_CHIPS
from app.domain.validation import MAX_TEXT_LENGTH

_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def _wrong(text: str) -> dict[str, Any]:
    """The text for whatever is wrong with a value, unless it is not there at all."""
    return {"required": "is missing", "null": text, "invalid": text}


class Amount(fields.Integer):
    """Whole chips, from `low` to MAX_CHIPS, as a JSON integer: not a bool, a float, or a text."""

    code = "INVALID_AMOUNT"

    def __init__(self, *, low: int, **options: Any) -> None:
        text = f"must be a whole number from {low} to {MAX_CHIPS}"
        within = validate.Range(low, MAX_CHIPS, error=text)
        super().__init__(validate=within, error_messages=_wrong(text), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class Text(fields.String):
    """A short printable text, of the characters that `app.domain.validation` takes: no lone surrogates."""

    def __init__(self, *, shortest: int = 0, code: str = "INVALID_REQUEST", **options: Any) -> None:
        self.code = code
        text = f"must be {shortest} to {MAX_TEXT_LENGTH} printable characters"
        fit = [
            validate.Length(shortest, MAX_TEXT_LENGTH, error=text),
            validate.Predicate("isprintable", error=text),
        ]
        metadata = {"format": "printable"}
        super().__init__(validate=fit, metadata=metadata, error_messages=_wrong(text), **options)


class AccountId(fields.String):
    """An id that a caller may use (CONTRACT 3), of an account where nothing else is said."""

    code = "INVALID_ACCOUNT_ID"

    def __init__(self, **options: Any) -> None:
        text = "must match [A-Za-z0-9._:@-]{1,128}"
        braces = text.replace("{", "{{").replace("}", "}}")  # it is a format there
        shape = validate.Regexp(r"^[A-Za-z0-9._:@-]{1,128}\Z", error=braces)
        super().__init__(validate=shape, error_messages=_wrong(text), **options)


class Switch(fields.Boolean):
    """A JSON true or false; nothing that is like one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages=_wrong("must be true or false"), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid")
        return value


class Flag(fields.Boolean):
    """A switch in a query: the word true or false."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages=_wrong("must be true or false"), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid")
        return bool(value == "true")


class Whole(fields.Integer):
    """A whole number in a query, in decimal digits."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        text = f"must be a whole number from {low} to {high}"
        within = validate.Range(low, high, error=text)
        super().__init__(validate=within, error_messages=_wrong(text), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class Choice(fields.String):
    """One of some words."""

    def __init__(self, *words: str, **options: Any) -> None:
        text = f"must be one of {', '.join(words)}"
        among = validate.OneOf(words, error=text)
        super().__init__(validate=among, error_messages=_wrong(text), **options)


class Time(fields.DateTime):
    """A moment in a query, as ISO 8601 with its offset from UTC; ms since the epoch inside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages=_wrong("must be a time like 2026-01-31T12:00:00.000Z"), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise self.make_error("invalid")
        try:
            moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.make_error("invalid") from None
        return milliseconds(moment)


def milliseconds(moment: datetime) -> int:
    """Whole ms since the epoch."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def code_of(field: fields.Field[Any] | None) -> str:
    """The machine code of a request that has this field wrong."""
    return getattr(field, "code", "INVALID_REQUEST")
