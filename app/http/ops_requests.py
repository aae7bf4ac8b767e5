"""What ops may send: every deed with its reason, and `dryRun` to be told what it would do."""

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from app.domain.amounts import MAX_CHIPS
from app.domain.commands import KINDS
from app.http.fields import Choice, Switch, Text, Time, Whole
from app.http.requests import MAX_LIMIT

MOST_LETTERS = 100
"""Dead letters in one request: those beyond wait for the next."""
_TRANSACTION = r"^[0-9]{3}-[a-z2-7]{26}$"
_ACCOUNTS_PLACE = r"^[0-9]{3}\|[A-Za-z0-9._:@$-]{1,128}$"
_DEAD_LETTER = r"^[0-9]{3}-[a-z]-[0-9]{1,15}-[0-9]{1,15}-[0-9]{1,5}$"


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class Deed(_Strict):
    """Why, for the ops log; and whether only to tell what would be done."""

    reason = Text(shortest=1, required=True)
    dry_run = Switch(data_key="dryRun", load_default=False)


class Clearing(Deed):
    """Which kind of command to take again; all kinds without one."""

    kind = Choice(*KINDS, load_default=str)


class Change(fields.Integer):
    """Signed chips, not 0, as a JSON integer."""

    code = "INVALID_AMOUNT"

    def __init__(self, **options: Any) -> None:
        text = f"must be a whole number from -{MAX_CHIPS} to {MAX_CHIPS}, not 0"
        within = [validate.Range(-MAX_CHIPS, MAX_CHIPS, error=text), validate.NoneOf([0], error=text)]
        messages: dict[str, Any] = {"required": "is missing", "null": text, "invalid": text}
        metadata = {"not": {"const": 0}}
        super().__init__(validate=within, error_messages=messages, metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


def _place(pattern: str, **options: Any) -> fields.String:
    """A text that only an answer of ours can have named."""
    text = "is no such place"
    messages: dict[str, Any] = {"required": "is missing", "null": text, "invalid": text}
    return fields.String(validate=validate.Regexp(pattern, error=text), error_messages=messages, **options)


class Adjustment(Deed):
    """A correction: signed chips, and the transaction that they correct."""

    change = Change(required=True)
    corrects = _place(_TRANSACTION, required=True)


def _letter_ids() -> fields.List[str]:
    text = f"must be 1 to {MOST_LETTERS} ids"
    return fields.List(
        Text(shortest=1),
        required=True,
        validate=validate.Length(1, MOST_LETTERS, error=text),
        error_messages={"required": "is missing", "null": text, "invalid": text},
    )


class Replay(Deed):
    """Which dead letters to replay. `force` also those that wait already, or whose kind is stopped.

    `reissue` issues anew, under another key, those of which nothing is known any more.
    """

    ids = _letter_ids()
    force = Switch(load_default=False)
    reissue = Switch(load_default=False)


class Resolution(Deed):
    """Which dead letters to close without a replay."""

    ids = _letter_ids()


class LettersQuery(_Strict):
    limit = Whole(1, MAX_LIMIT, load_default=50)
    after = _place(_DEAD_LETTER, load_default=str)
    kind = Text(load_default="")
    account_id = Text(data_key="accountId", load_default="")
    table_id = Text(data_key="tableId", load_default="")
    error = Text(load_default="")
    since = Time(data_key="from", load_default=int)
    until = Time(data_key="to", load_default=int)


class AccountsQuery(_Strict):
    limit = Whole(1, MAX_LIMIT, load_default=50)
    after = _place(_ACCOUNTS_PLACE, load_default=str)
    status = Choice("ACTIVE", "FROZEN", load_default=str)


class LogQuery(_Strict):
    limit = Whole(1, MAX_LIMIT, load_default=50)
    before = Whole(0, 2**53 - 1, load_default=0)
