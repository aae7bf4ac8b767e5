"""The wire and the domain, one onto the other: requests to commands, answers to responses. Pure."""

from grpc import StatusCode

from app.domain import commands
from app.domain.outcomes import Answer
from app.rpc.errors import CallFailed, error_code
from app.rpc.gen import balance_pb2 as pb
from app.services.queries import BalanceView
from app.services.times import iso_time


def balance_response(view: BalanceView) -> pb.GetBalanceResponse:
    """What GetBalance answers; an unknown account shows zeros."""
    return pb.GetBalanceResponse(
        account_id=view.account_id,
        balance=view.balance,
        available_balance=view.available_balance,
        currency=view.currency,
        version=view.version,
        stale=view.stale,
        as_of=iso_time(view.as_of) if view.stale else "",
    )


def ensure_account(request: pb.EnsureAccountRequest) -> commands.EnsureAccount:
    return commands.EnsureAccount(account_id=request.account_id, initial_balance=request.initial_balance)


def ensure_account_response(account_id: str, answer: Answer) -> pb.EnsureAccountResponse:
    """What EnsureAccount answers. Its message has no `error`, so a refusal is a status too (CONTRACT 3)."""
    if refusal := error_code(answer):
        raise CallFailed(StatusCode.FAILED_PRECONDITION, refusal)
    return pb.EnsureAccountResponse(account_id=account_id, balance=answer.balance, created=answer.created)


def deposit(request: pb.DepositRequest) -> commands.Deposit:
    return commands.Deposit(account_id=request.account_id, amount=request.amount, source=request.source)


def deposit_response(answer: Answer) -> pb.DepositResponse:
    return pb.DepositResponse(
        ok=answer.ok,
        transaction_id=answer.transaction_id,
        error=error_code(answer),
        new_balance=answer.balance,
    )


def withdraw(request: pb.WithdrawRequest) -> commands.Withdraw:
    return commands.Withdraw(account_id=request.account_id, amount=request.amount, reason=request.reason)


def withdraw_response(answer: Answer) -> pb.WithdrawResponse:
    return pb.WithdrawResponse(
        ok=answer.ok,
        transaction_id=answer.transaction_id,
        error=error_code(answer),
        new_balance=answer.balance,
    )


def reserve(request: pb.ReserveForBuyInRequest) -> commands.Reserve:
    return commands.Reserve(
        account_id=request.account_id,
        table_id=request.table_id,
        amount=request.amount,
        timeout_seconds=request.timeout_seconds,
    )


def reserve_response(answer: Answer) -> pb.ReserveForBuyInResponse:
    return pb.ReserveForBuyInResponse(
        ok=answer.ok,
        reservation_id=answer.reservation_id,
        error=error_code(answer),
        available_balance=answer.available_balance,
    )


def commit(request: pb.CommitReservationRequest) -> commands.Commit:
    return commands.Commit(reservation_id=request.reservation_id)


def commit_response(answer: Answer) -> pb.CommitReservationResponse:
    return pb.CommitReservationResponse(
        ok=answer.ok,
        transaction_id=answer.transaction_id,
        error=error_code(answer),
        new_balance=answer.balance,
    )


def release(request: pb.ReleaseReservationRequest) -> commands.Release:
    return commands.Release(reservation_id=request.reservation_id, reason=request.reason)


def release_response(answer: Answer) -> pb.ReleaseReservationResponse:
    return pb.ReleaseReservationResponse(
        ok=answer.ok, error=error_code(answer), available_balance=answer.available_balance
    )


def cash_out(request: pb.ProcessCashOutRequest) -> commands.CashOut:
    return commands.CashOut(
        account_id=request.account_id,
        table_id=request.table_id,
        seat_id=request.seat_id,
        amount=request.amount,
        hand_id=request.hand_id,
    )


def cash_out_response(answer: Answer) -> pb.ProcessCashOutResponse:
    return pb.ProcessCashOutResponse(
        ok=answer.ok,
        transaction_id=answer.transaction_id,
        error=error_code(answer),
        new_balance=answer.balance,
    )
