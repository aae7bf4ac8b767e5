"""Calls about batches: up to 500,000 payouts under one id, each paid once however often the batch is sent.

A batch is taken whole or not at all, and then queued; sent again with the same lines it goes on where it was.
That takes a while, some thousand lines a second: `client.within(seconds)` gives it the time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import answers
from .calls import Call
from .gen import balance_pb2 as pb
from .packing import messages_of


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """Chips for an account. Without a key of its own it is paid under the batch's id and its number.

    Types: PAYOUT, BONUS, REFERRAL.
    """

    account_id: str
    amount: int
    idempotency_key: str = ""
    payout_type: str = "PAYOUT"
    reason: str = ""


def submit_batch(
    lines: Iterable[PayoutLine],
    *,
    batch_id: str = "",
    count: int | None = None,
    total: int | None = None,
    dry_run: bool = False,
    all_or_nothing: bool = False,
) -> Call[answers.Batch]:
    """Have many payouts made, numbered from 1 in their order; answered when all of them are queued.

    Without an id the service makes one from the lines. `count` and `total` (chips) are compared with the
    lines, where they are given. With `dry_run` all is checked, nothing sent. `all_or_nothing` is for as many
    as fit one message, of accounts of one partition. What is wrong with which line stands in the
    `answer["problems"]` of a refusal with INVALID_BATCH.
    """
    header = pb.BatchHeader(
        batch_id=batch_id, count=count, total=total, dry_run=dry_run, all_or_nothing=all_or_nothing
    )
    more = tuple(messages_of(_numbered(lines)))
    return Call("SubmitBatch", pb.SubmitBatchRequest(header=header), _batch, more=more)


def get_batch(batch_id: str, *, brief: bool = False) -> Call[answers.Batch]:
    """Show how far a batch is; a brief look says how many lines are settled, and not how."""
    return Call("GetBatch", pb.GetBatchRequest(batch_id=batch_id, brief=brief), _batch)


def list_batch_items(batch_id: str, *, after_line: int = 0, failed: bool = False) -> Call[answers.BatchItems]:
    """Show what became of the lines, page by page: go on after `next_line` until that is 0."""
    request = pb.ListBatchItemsRequest(batch_id=batch_id, after_line=after_line, failed=failed)
    return Call("ListBatchItems", request, _items)


def cancel_batch(batch_id: str) -> Call[answers.Batch]:
    """Let nothing more of a batch be queued; what is queued already is paid."""
    return Call("CancelBatch", pb.CancelBatchRequest(batch_id=batch_id), _batch)


def _numbered(lines: Iterable[PayoutLine]) -> Iterator[pb.PayoutItem]:
    for number, line in enumerate(lines, 1):
        yield pb.PayoutItem(
            line=number,
            account_id=line.account_id,
            amount=line.amount,
            idempotency_key=line.idempotency_key,
            type=line.payout_type,
            reason=line.reason,
        )


def _batch(message: pb.SubmitBatchResponse | pb.GetBatchResponse | pb.CancelBatchResponse) -> answers.Batch:
    shown = message.batch
    return answers.Batch(
        batch_id=shown.batch_id or getattr(message, "batch_id", ""),
        items=shown.items,
        total=shown.total,
        sent=shown.sent,
        settled=shown.settled,
        applied=shown.applied,
        replayed=shown.replayed,
        refused=shown.refused,
        parked=shown.parked,
        finished=shown.finished,
        created_at=shown.created_at,
        submitted_by=shown.submitted_by,
        cancelled_at=shown.cancelled_at,
    )


def _items(message: pb.ListBatchItemsResponse) -> answers.BatchItems:
    return answers.BatchItems(tuple(map(_item, message.items)), message.next_line)


def _item(shown: pb.BatchItem) -> answers.BatchItem:
    return answers.BatchItem(
        line=shown.line,
        status=shown.status,
        error=shown.error,
        dead_letter_id=shown.dead_letter_id,
        account_id=shown.item.account_id,
        amount=shown.item.amount,
        idempotency_key=shown.item.idempotency_key,
        payout_type=shown.item.type,
        reason=shown.item.reason,
    )
