"""The wire and the domain: every field of a request reaches its command, every result its response."""

import pytest
from google.protobuf.message import Message
from grpc import StatusCode

from app.domain import commands
from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.rpc import messages
from app.rpc.errors import CallFailed
from app.rpc.gen import balance_pb2 as pb
from app.rpc.servicer import timeout_ms
from app.services.queries import BalanceView
from app.services.times import iso_time


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            messages.ensure_account(pb.EnsureAccountRequest(account_id="a", initial_balance=5)),
            commands.EnsureAccount(account_id="a", initial_balance=5),
        ),
        (
            messages.deposit(
                pb.DepositRequest(account_id="a", amount=5, source="BONUS", idempotency_key="k")
            ),
            commands.Deposit(account_id="a", amount=5, source="BONUS"),
        ),
        (
            messages.withdraw(pb.WithdrawRequest(account_id="a", amount=5, reason="r", idempotency_key="k")),
            commands.Withdraw(account_id="a", amount=5, reason="r"),
        ),
        (
            messages.reserve(
                pb.ReserveForBuyInRequest(account_id="a", table_id="t", amount=5, timeout_seconds=9)
            ),
            commands.Reserve(account_id="a", table_id="t", amount=5, timeout_seconds=9),
        ),
        (
            messages.commit(pb.CommitReservationRequest(reservation_id="r")),
            commands.Commit(reservation_id="r"),
        ),
        (
            messages.release(pb.ReleaseReservationRequest(reservation_id="r", reason="left")),
            commands.Release(reservation_id="r", reason="left"),
        ),
        (
            messages.cash_out(
                pb.ProcessCashOutRequest(account_id="a", table_id="t", seat_id=3, amount=5, hand_id="h")
            ),
            commands.CashOut(account_id="a", table_id="t", seat_id=3, amount=5, hand_id="h"),
        ),
    ],
)
def test_a_request_becomes_its_command(command: Command, expected: Command) -> None:
    """Field by field; the key travels beside it."""
    assert command == expected


APPLIED = Answer(transaction_id="t", reservation_id="r", balance=7, available_balance=4, created=True)
REFUSED = Answer(outcome=Outcome.INSUFFICIENT_BALANCE, available_balance=4)
CODE = "INSUFFICIENT_BALANCE"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (messages.deposit_response(APPLIED), pb.DepositResponse(ok=True, transaction_id="t", new_balance=7)),
        (
            messages.withdraw_response(APPLIED),
            pb.WithdrawResponse(ok=True, transaction_id="t", new_balance=7),
        ),
        (messages.withdraw_response(REFUSED), pb.WithdrawResponse(error=CODE)),
        (
            messages.reserve_response(APPLIED),
            pb.ReserveForBuyInResponse(ok=True, reservation_id="r", available_balance=4),
        ),
        (messages.reserve_response(REFUSED), pb.ReserveForBuyInResponse(error=CODE, available_balance=4)),
        (
            messages.commit_response(APPLIED),
            pb.CommitReservationResponse(ok=True, transaction_id="t", new_balance=7),
        ),
        (messages.release_response(APPLIED), pb.ReleaseReservationResponse(ok=True, available_balance=4)),
        (
            messages.cash_out_response(APPLIED),
            pb.ProcessCashOutResponse(ok=True, transaction_id="t", new_balance=7),
        ),
        (
            messages.ensure_account_response("a", APPLIED),
            pb.EnsureAccountResponse(account_id="a", balance=7, created=True),
        ),
    ],
)
def test_an_answer_becomes_the_methods_response(response: Message, expected: Message) -> None:
    """A refusal carries its code, and what is available where the method shows that."""
    assert response == expected


def test_a_refused_ensure_account_is_a_status() -> None:
    """Its response has no room for a code."""
    with pytest.raises(CallFailed) as failed:
        messages.ensure_account_response("a", Answer(outcome=Outcome.ACCOUNT_FROZEN))
    assert (failed.value.status, failed.value.details) == (StatusCode.FAILED_PRECONDITION, "ACCOUNT_FROZEN")


def test_only_a_stale_balance_says_of_when_it_is() -> None:
    """Times are UTC, with milliseconds and Z."""
    fresh = BalanceView(account_id="a", balance=7, available_balance=4, version=2, as_of=1_700_000_000_007)
    assert messages.balance_response(fresh) == pb.GetBalanceResponse(
        account_id="a", balance=7, available_balance=4, currency="CHIPS", version=2
    )
    stale = messages.balance_response(BalanceView(account_id="a", stale=True, as_of=1_700_000_000_007))
    assert (stale.stale, stale.as_of) == (True, "2023-11-14T22:13:20.007Z")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_written_to_the_millisecond(milliseconds: int, text: str) -> None:
    """Exactly: none is rounded on its way through a float."""
    assert iso_time(milliseconds) == text


@pytest.mark.parametrize(
    ("remaining_seconds", "milliseconds"), [(None, 5000), (2.0, 2000), (0.0305, 30), (0.0, 1), (-1.0, 1)]
)
def test_a_call_waits_for_what_is_left_of_its_deadline(
    remaining_seconds: float | None, milliseconds: int
) -> None:
    """Without one for 5 s; and never for ever, which 0 might mean to others."""
    assert timeout_ms(remaining_seconds) == milliseconds
