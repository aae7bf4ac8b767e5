"""What is sent and answered about what nobody waits for: schemas, as they are published, and their values."""

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, fields, validate

from app.domain import commands
from app.domain.amounts import MAX_CHIPS
from app.domain.batches import MAX_LINE, Draft
from app.domain.commands import PAYOUT, PAYOUT_TYPES
from app.http.errors import OUTCOMES
from app.http.fields import AccountId, Amount, Choice, Flag, Text, Whole
from app.services.asynchronous import Submitted as SubmittedNow
from app.services.batches import BatchView, SettledItem
from app.services.times import iso_time
from app.services.tracking import CommandState as State
from app.services.tracking import Status

KINDS: Mapping[str, type[commands.Command]] = {
    kind.__name__: kind for kind in (commands.Deposit, commands.Withdraw, commands.Payout)
}
"""The commands that are submitted over HTTP, by their operation."""
_TYPES = sorted(PAYOUT_TYPES)
_STATES = (Status.QUEUED, Status.DONE, Status.PARKED)
_SETTLED = (Status.APPLIED, Status.REPLAYED, Status.REFUSED, Status.PARKED)


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class SubmittedDeposit(_Strict):
    operation = Choice("Deposit", required=True)
    account_id = AccountId(data_key="accountId", required=True)
    amount = Amount(low=1, required=True)
    source = Text(shortest=1, code="MISSING_SOURCE", required=True)


class SubmittedWithdrawal(_Strict):
    operation = Choice("Withdraw", required=True)
    account_id = AccountId(data_key="accountId", required=True)
    amount = Amount(low=1, required=True)
    reason = Text(load_default="")


class SubmittedPayout(_Strict):
    """Opens the account when needed."""

    operation = Choice("Payout", required=True)
    account_id = AccountId(data_key="accountId", required=True)
    amount = Amount(low=1, required=True)
    type = Choice(*_TYPES, load_default=PAYOUT)
    reason = Text(load_default="")


COMMANDS: Mapping[str, Schema] = {
    "Deposit": SubmittedDeposit(),
    "Withdraw": SubmittedWithdrawal(),
    "Payout": SubmittedPayout(),
}


class PayoutLine(_Strict):
    """One line. `key` is the caller's own; else the batch's id and the line's number make one."""

    account = AccountId(required=True)
    amount = Amount(low=1, required=True)
    key = Text()
    type = Choice(*_TYPES)
    reason = Text()


class BatchQuery(_Strict):
    """Without an id the batch gets one made from its lines; count and chips are checked where given."""

    batch_id = AccountId(data_key="batchId", load_default="")
    count = Whole(1, MAX_LINE, load_default=lambda: None)
    total = Whole(1, MAX_CHIPS, load_default=lambda: None)
    dry_run = Flag(data_key="dryRun", load_default=False)
    all_or_nothing = Flag(data_key="allOrNothing", load_default=False)


class ItemsQuery(_Strict):
    after = Whole(0, MAX_LINE, load_default=0)
    failed = Flag(load_default=False)


class _Answer(Schema):
    class Meta:
        unknown = EXCLUDE  # published: more fields may come


def _text(name: str | None = None) -> fields.String:
    return fields.String(required=True, data_key=name)


def _whole(**options: Any) -> fields.Integer:
    return fields.Integer(required=True, validate=validate.Range(0), **options)


def _time(name: str, **options: Any) -> fields.String:
    return fields.String(data_key=name, metadata={"format": "date-time"}, **options)


def _word(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


class Submitted(_Answer):
    command_id = _text("commandId")
    status = _word(*_STATES)


def submitted(found: SubmittedNow) -> dict[str, Any]:
    return {
        "commandId": found.command_id,
        "status": found.before.status if found.before else Status.QUEUED,
    }


class CommandAnswer(_Answer):
    """What the command was answered: with `ok` what it did, else `error` and `message`."""

    ok = fields.Boolean(required=True)
    error = fields.String()
    message = fields.String()
    replayed = fields.Boolean(required=True)
    transaction_id = fields.String(data_key="transactionId")
    reservation_id = fields.String(data_key="reservationId")
    type = fields.String()
    amount = fields.Integer()
    balance_before = fields.Integer(data_key="balanceBefore")
    balance_after = fields.Integer(data_key="balanceAfter")


class CommandState(_Answer):
    """`operation` on the account or table `aggregateId`; done, it has an answer, parked, a dead letter."""

    command_id = _text("commandId")
    status = _word(*_STATES)
    operation = _text()
    aggregate_id = _text("aggregateId")
    submitted_at = _time("submittedAt", required=True)
    done_at = _time("doneAt")
    answer = fields.Nested(CommandAnswer)
    dead_letter_id = fields.String(data_key="deadLetterId")


def command_state(state: State) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "commandId": state.command_id,
        "status": state.status,
        "operation": state.intent.kind,
        "aggregateId": state.intent.aggregate_id,
        "submittedAt": iso_time(state.intent.submitted_at),
    }
    if state.done is not None:
        shown |= {"doneAt": iso_time(state.done.at), "answer": _answer(state)}
    elif state.dead_letter_id:
        shown["deadLetterId"] = state.dead_letter_id
    return shown


def _answer(state: State) -> dict[str, Any]:
    assert state.done is not None  # noqa: S101  # its caller has looked
    answer = state.done.answer
    shown: dict[str, Any] = {"ok": answer.ok, "replayed": answer.replayed}
    if not answer.ok:
        row = OUTCOMES[answer.outcome]
        return shown | {"error": row.code or answer.outcome.value, "message": row.message}
    ids = {"transactionId": answer.transaction_id, "reservationId": answer.reservation_id}
    shown |= {name: value for name, value in ids.items() if value}
    if answer.transaction_id:
        shown |= {
            "type": answer.type,
            "amount": answer.amount,
            "balanceBefore": answer.balance_before,
            "balanceAfter": answer.balance,
        }
    return shown


class Checked(_Answer):
    """What a dry run found: all lines are right, and this is what they add up to."""

    batch_id = _text("batchId")
    items = _whole()
    total = _whole()


def checked(batch_id: str, draft: Draft) -> dict[str, Any]:
    return {"batchId": batch_id, "items": draft.count, "total": draft.total}


class Batch(_Answer):
    """Of `items` so many are `sent`, and of those so many settled: applied, replayed, refused or parked.

    `total` is chips; `finished` when nothing more happens by itself.
    """

    batch_id = _text("batchId")
    items = _whole()
    total = _whole()
    sent = _whole()
    applied = _whole()
    replayed = _whole()
    refused = _whole()
    parked = _whole()
    finished = fields.Boolean(required=True)
    created_at = _time("createdAt", required=True)
    submitted_by = _text("submittedBy")
    cancelled_at = _time("cancelledAt")


def batch(view: BatchView) -> dict[str, Any]:
    manifest = view.manifest
    shown = {
        "batchId": manifest.batch_id,
        "items": manifest.items,
        "total": manifest.total,
        "sent": view.sent,
        **view.counts._asdict(),
        "finished": view.finished,
        "createdAt": iso_time(manifest.created_at),
        "submittedBy": manifest.submitted_by,
    }
    return shown | ({"cancelledAt": iso_time(manifest.cancelled_at)} if manifest.cancelled else {})


class BatchItem(_Answer):
    """A settled line. Of one that was not paid it says why, and what it was: it can be submitted again so."""

    line = _whole()
    status = _word(*_SETTLED)
    error = fields.String()
    dead_letter_id = fields.String(data_key="deadLetterId")
    account = fields.String()
    amount = fields.Integer()
    type = fields.String()
    reason = fields.String()
    key = fields.String()


class BatchItems(_Answer):
    """`next` is the `after` of the next page; 0 at the end."""

    items = fields.List(fields.Nested(BatchItem), required=True)
    next = _whole()


def batch_items(items: list[SettledItem], next_line: int) -> dict[str, Any]:
    return {"items": list(map(_item, items)), "next": next_line}


def _item(settled: SettledItem) -> dict[str, Any]:
    shown: dict[str, Any] = {"line": settled.line, "status": settled.status}
    failure = settled.failure
    if failure is None:
        return shown
    why = {
        "error": failure.code,
        "deadLetterId": failure.dead_letter_id,
        "account": failure.account_id,
        "amount": failure.amount,
        "type": failure.type,
        "reason": failure.reason,
        "key": failure.key,
    }
    return shown | {name: value for name, value in why.items() if value}
