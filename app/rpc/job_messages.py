"""The wire and the domain for what nobody waits for: submitted commands, and batches of payouts. Pure."""

from collections.abc import Callable
from typing import Any

from app.domain import commands
from app.domain.batches import Draft, Item
from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.domain.validation import Malformed
from app.rpc import messages, pot_messages
from app.rpc.gen import balance_pb2 as pb
from app.services.asynchronous import Submitted
from app.services.batches import BatchView, SettledItem
from app.services.payouts import SubmittedBatch
from app.services.times import iso_time
from app.services.tracking import CommandState, ItemFailure, Status


def payout(request: pb.PayoutRequest | pb.PayoutItem) -> commands.Payout:
    return commands.Payout(
        account_id=request.account_id,
        amount=request.amount,
        type=request.type or commands.PAYOUT,
        reason=request.reason,
    )


_COMMANDS: dict[str, Callable[[Any], Command]] = {
    "deposit": messages.deposit,
    "withdraw": messages.withdraw,
    "payout": payout,
    "cash_out": messages.cash_out,
    "reserve": messages.reserve,
    "contribution": pot_messages.contribution,
    "settlement": pot_messages.settlement,
}


def submitted(request: pb.SubmitCommandRequest) -> tuple[Command, str]:
    """The command and its key. Raises Malformed where there is none."""
    kind = request.WhichOneof("command")
    if kind is None:
        raise Malformed("command", "is missing")
    inner = getattr(request, kind)
    return _COMMANDS[kind](inner), inner.idempotency_key


def submitted_response(found: Submitted) -> pb.SubmitCommandResponse:
    if found.reused:
        return pb.SubmitCommandResponse(ok=False, error=Outcome.IDEMPOTENCY_KEY_REUSED)
    return pb.SubmitCommandResponse(
        ok=True,
        command_id=found.command_id,
        status=found.before.status if found.before else Status.QUEUED,
        replayed=found.before is not None,
    )


def command_response(state: CommandState | None) -> pb.GetCommandResponse:
    if state is None:
        return pb.GetCommandResponse(ok=False, error="COMMAND_NOT_FOUND")
    shown = pb.SubmittedCommand(
        command_id=state.command_id,
        status=state.status,
        operation=state.intent.kind,
        aggregate_id=state.intent.aggregate_id,
        submitted_at=iso_time(state.intent.submitted_at),
    )
    if state.done is not None:
        shown.done_at = iso_time(state.done.at)
        shown.answer.CopyFrom(answer_shown(state.done.answer))
    elif state.dead_letter_id:
        shown.dead_letter_id = state.dead_letter_id
    return pb.GetCommandResponse(ok=True, command=shown)


def answer_shown(answer: Answer) -> pb.CommandAnswer:
    """What the command's own method would have answered."""
    return pb.CommandAnswer(
        ok=answer.ok,
        error="" if answer.ok else answer.outcome.value,
        replayed=answer.replayed,
        transaction_id=answer.transaction_id,
        reservation_id=answer.reservation_id,
        amount=answer.amount,
        new_balance=answer.balance,
        available_balance=answer.available_balance,
        total_pot=answer.total_pot,
        seat_contribution=answer.seat_contribution,
        results=map(pot_messages.result_shown, answer.results),
    )


def item(request: pb.PayoutItem) -> Item:
    """A line of a batch, not yet checked."""
    return Item(request.line, payout(request), request.idempotency_key)


def expected(header: pb.BatchHeader) -> dict[str, int]:
    """What the caller believes to send, where it says so."""
    return {name: getattr(header, name) for name in ("count", "total") if header.HasField(name)}


def submitted_batch_response(found: SubmittedBatch, draft: Draft) -> pb.SubmitBatchResponse:
    return pb.SubmitBatchResponse(
        ok=found.refusal is None,
        error=found.refusal or "",
        batch_id=found.batch_id,
        problems=[
            pb.LineProblem(line=line, field=field, message=text) for line, field, text in draft.problems
        ],
        batch=batch(found.view) if found.view else None,
    )


def batch_response(view: BatchView | None) -> pb.GetBatchResponse:
    if view is None:
        return pb.GetBatchResponse(ok=False, error="BATCH_NOT_FOUND")
    return pb.GetBatchResponse(ok=True, batch=batch(view))


def cancelled_response(view: BatchView | None) -> pb.CancelBatchResponse:
    if view is None:
        return pb.CancelBatchResponse(ok=False, error="BATCH_NOT_FOUND")
    return pb.CancelBatchResponse(ok=True, batch=batch(view))


def batch(view: BatchView) -> pb.Batch:
    manifest = view.manifest
    return pb.Batch(
        batch_id=manifest.batch_id,
        items=manifest.items,
        total=manifest.total,
        sent=view.sent,
        settled=view.settled,
        **view.counts._asdict(),
        finished=view.finished,
        created_at=iso_time(manifest.created_at),
        submitted_by=manifest.submitted_by,
        cancelled_at=iso_time(manifest.cancelled_at) if manifest.cancelled else "",
    )


def items_response(page: tuple[list[SettledItem], int] | None) -> pb.ListBatchItemsResponse:
    if page is None:
        return pb.ListBatchItemsResponse(ok=False, error="BATCH_NOT_FOUND")
    found, next_line = page
    return pb.ListBatchItemsResponse(ok=True, items=map(_settled_item, found), next_line=next_line)


def _settled_item(settled: SettledItem) -> pb.BatchItem:
    failure = settled.failure or ItemFailure(code="")
    return pb.BatchItem(
        line=settled.line,
        status=settled.status,
        error=failure.code,
        dead_letter_id=failure.dead_letter_id,
        item=pb.PayoutItem(
            line=settled.line,
            account_id=failure.account_id,
            amount=failure.amount,
            idempotency_key=failure.key,
            type=failure.type,
            reason=failure.reason,
        )
        if settled.failure
        else None,
    )
