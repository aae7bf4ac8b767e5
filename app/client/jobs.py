"""Calls for jobs, which wait for nothing: a command is submitted with one call and looked up with another.

Submitted again under its key a command answers the same id, and is carried out once.
"""

from typing import Any

from . import answers
from .calls import Call
from .gen import balance_pb2 as pb
from .keys import key_or_new

_FIELDS = {
    "DepositRequest": "deposit",
    "WithdrawRequest": "withdraw",
    "PayoutRequest": "payout",
    "ProcessCashOutRequest": "cash_out",
    "ReserveForBuyInRequest": "reserve",
    "RecordContributionRequest": "contribution",
    "SettlePotRequest": "settlement",
}


def submit(call: Call[Any]) -> Call[answers.Submitted]:
    """Have a call of `calls` carried out some time: one that carries an idempotency key."""
    field = _FIELDS.get(type(call.request).__name__)
    if field is None:
        raise ValueError(f"{call.method} carries no idempotency key and cannot be submitted")
    fields: dict[str, Any] = {field: call.request}
    return Call("SubmitCommand", pb.SubmitCommandRequest(**fields), _submitted, key=call.idempotency_key)


def submit_payout(
    account_id: str,
    amount: int,
    *,
    payout_type: str = "PAYOUT",
    reason: str = "",
    idempotency_key: str | None = None,
) -> Call[answers.Submitted]:
    """Have chips paid to an account, which is opened when needed. Types: PAYOUT, BONUS, REFERRAL."""
    request = pb.PayoutRequest(
        account_id=account_id,
        amount=amount,
        type=payout_type,
        reason=reason,
        idempotency_key=key_or_new(idempotency_key),
    )
    return submit(Call("Payout", request, lambda _: None))


def get_command(command_id: str) -> Call[answers.Command]:
    """Show where a submitted command is: queued, done (then with its answer) or parked."""
    return Call("GetCommand", pb.GetCommandRequest(command_id=command_id), _command)


def _submitted(message: pb.SubmitCommandResponse) -> answers.Submitted:
    return answers.Submitted(message.command_id, message.status, message.replayed)


def _command(message: pb.GetCommandResponse) -> answers.Command:
    shown = message.command
    return answers.Command(
        command_id=shown.command_id,
        status=shown.status,
        operation=shown.operation,
        aggregate_id=shown.aggregate_id,
        submitted_at=shown.submitted_at,
        done_at=shown.done_at,
        dead_letter_id=shown.dead_letter_id,
        answer=_answer(shown.answer) if shown.HasField("answer") else None,
    )


def _answer(shown: pb.CommandAnswer) -> answers.CommandAnswer:
    return answers.CommandAnswer(
        ok=shown.ok,
        error=shown.error,
        replayed=shown.replayed,
        transaction_id=shown.transaction_id,
        reservation_id=shown.reservation_id,
        amount=shown.amount,
        new_balance=shown.new_balance,
        available_balance=shown.available_balance,
    )
