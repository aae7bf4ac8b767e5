"""gRPC as a poker service meets it: the whole service in processes of its own, a plain client before it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from app.client.errors import may_pass
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.support.service import RunningService, balance

TIMEOUT = 10.0


@pytest.fixture(scope="module")
def channel(service: RunningService) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> BalanceServiceStub:
    return BalanceServiceStub(channel)


def new_id() -> str:
    """An account, table or key that no other test uses."""
    return uuid4().hex


def opened(stub: BalanceServiceStub, chips: int) -> str:
    """A new account with that many chips."""
    account_id = new_id()
    stub.EnsureAccount(pb.EnsureAccountRequest(account_id=account_id, initial_balance=chips), timeout=TIMEOUT)
    return account_id


def balance_of(stub: BalanceServiceStub, account_id: str) -> tuple[int, int, int]:
    """Balance, available balance and version."""
    answer = stub.GetBalance(pb.GetBalanceRequest(account_id=account_id), timeout=TIMEOUT)
    assert answer.currency == "CHIPS"
    return answer.balance, answer.available_balance, answer.version


def failure(method: Any, request: Message | bytes, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as failed:
        method(request, timeout=TIMEOUT, **options)
    return failed.value


def test_an_account_nobody_opened_shows_zeros(stub: BalanceServiceStub) -> None:
    """Also in version: nothing has changed it."""
    assert balance_of(stub, new_id()) == (0, 0, 0)


def test_chips_go_to_the_table_and_come_back(stub: BalanceServiceStub) -> None:
    """The way of a player: money in, buy-in, game, cash-out, money out."""
    account_id, table_id = opened(stub, 100), new_id()
    paid = stub.Deposit(
        pb.DepositRequest(account_id=account_id, amount=900, source="BONUS", idempotency_key=new_id()),
        timeout=TIMEOUT,
    )
    assert (paid.ok, paid.new_balance) == (True, 1000)

    held = stub.ReserveForBuyIn(
        pb.ReserveForBuyInRequest(
            account_id=account_id, table_id=table_id, amount=400, idempotency_key=new_id()
        ),
        timeout=TIMEOUT,
    )
    assert (held.ok, held.available_balance) == (True, 600)
    assert balance_of(stub, account_id) == (1000, 600, 1)  # a hold is no change of the balance

    commit = pb.CommitReservationRequest(reservation_id=held.reservation_id)
    bought = stub.CommitReservation(commit, timeout=TIMEOUT)
    assert (bought.ok, bought.new_balance) == (True, 600)
    assert stub.CommitReservation(commit, timeout=TIMEOUT) == bought

    left = stub.ProcessCashOut(
        pb.ProcessCashOutRequest(
            account_id=account_id, table_id=table_id, seat_id=3, amount=350, idempotency_key=new_id()
        ),
        timeout=TIMEOUT,
    )
    assert (left.ok, left.new_balance) == (True, 950)

    taken = stub.Withdraw(
        pb.WithdrawRequest(account_id=account_id, amount=950, idempotency_key=new_id()), timeout=TIMEOUT
    )
    assert (taken.ok, taken.new_balance) == (True, 0)
    assert balance_of(stub, account_id) == (0, 0, 4)


def test_a_released_hold_frees_its_chips(stub: BalanceServiceStub) -> None:
    """Released again it answers ok; committed it is refused."""
    account_id = opened(stub, 100)
    reserve = pb.ReserveForBuyInRequest(
        account_id=account_id, table_id=new_id(), amount=60, idempotency_key=new_id(), timeout_seconds=60
    )
    held = stub.ReserveForBuyIn(reserve, timeout=TIMEOUT)
    release = pb.ReleaseReservationRequest(reservation_id=held.reservation_id, reason="table closed")
    for _ in range(2):
        assert stub.ReleaseReservation(release, timeout=TIMEOUT) == pb.ReleaseReservationResponse(
            ok=True, available_balance=100
        )
    late = stub.CommitReservation(
        pb.CommitReservationRequest(reservation_id=held.reservation_id), timeout=TIMEOUT
    )
    assert (late.ok, late.error) == (False, "RESERVATION_NOT_HELD")


def test_a_repeated_key_gets_the_one_outcome(stub: BalanceServiceStub) -> None:
    """With other parameters it is refused; nothing is applied twice."""
    account_id = opened(stub, 0)
    request = pb.DepositRequest(account_id=account_id, amount=5, idempotency_key=new_id())
    first = stub.Deposit(request, timeout=TIMEOUT)
    assert stub.Deposit(request, timeout=TIMEOUT) == first
    request.amount = 6
    assert stub.Deposit(request, timeout=TIMEOUT).error == "IDEMPOTENCY_KEY_REUSED"
    assert balance_of(stub, account_id) == (5, 5, 1)


def test_a_refusal_is_an_answer(stub: BalanceServiceStub) -> None:
    """Status OK, a code, and what is available instead."""
    account_id = opened(stub, 10)
    refused = stub.ReserveForBuyIn(
        pb.ReserveForBuyInRequest(account_id=account_id, table_id="t", amount=11, idempotency_key=new_id()),
        timeout=TIMEOUT,
    )
    assert refused == pb.ReserveForBuyInResponse(error="INSUFFICIENT_BALANCE", available_balance=10)
    unknown = pb.WithdrawRequest(account_id=new_id(), amount=1, idempotency_key=new_id())
    assert stub.Withdraw(unknown, timeout=TIMEOUT).error == "ACCOUNT_NOT_FOUND"
    unreadable = pb.CommitReservationRequest(reservation_id="no such id")
    assert stub.CommitReservation(unreadable, timeout=TIMEOUT).error == "RESERVATION_NOT_FOUND"


def test_an_account_is_opened_once(stub: BalanceServiceStub) -> None:
    """The initial balance counts only then."""
    account_id = opened(stub, 7)
    again = pb.EnsureAccountRequest(account_id=account_id, initial_balance=100)
    assert stub.EnsureAccount(again, timeout=TIMEOUT) == pb.EnsureAccountResponse(
        account_id=account_id, balance=7, created=False
    )
    assert balance_of(stub, account_id) == (7, 7, 0)


def test_an_account_holds_at_most_64_reservations(stub: BalanceServiceStub) -> None:
    """One more is too much work in flight, and no refusal that sticks."""
    account_id = opened(stub, 1000)
    requests = [
        pb.ReserveForBuyInRequest(account_id=account_id, table_id="t", amount=1, idempotency_key=new_id())
        for _ in range(65)
    ]
    for request in requests[:64]:
        assert stub.ReserveForBuyIn(request, timeout=TIMEOUT).ok
    error = failure(stub.ReserveForBuyIn, requests[64])
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "HOLD_LIMIT")


DEPOSIT: dict[str, Any] = {"account_id": "a", "amount": 1, "idempotency_key": "k"}
RESERVE = DEPOSIT | {"table_id": "t"}


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GetBalance", pb.GetBalanceRequest(), "account_id"),
        ("GetBalance", pb.GetBalanceRequest(account_id="a/b"), "account_id"),
        ("GetBalance", pb.GetBalanceRequest(account_id="x" * 129), "account_id"),
        ("GetBalance", pb.GetBalanceRequest(account_id="$house-000"), "account_id"),
        ("EnsureAccount", pb.EnsureAccountRequest(account_id="a", initial_balance=-1), "initial_balance"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"amount": 0}), "amount"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"amount": -1}), "amount"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"amount": 2**53}), "amount"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"idempotency_key": ""}), "idempotency_key"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"idempotency_key": "x" * 256}), "idempotency_key"),
        ("Deposit", pb.DepositRequest(**DEPOSIT | {"idempotency_key": "a\nb"}), "idempotency_key"),
        ("Withdraw", pb.WithdrawRequest(**DEPOSIT | {"amount": 0}), "amount"),
        ("ReserveForBuyIn", pb.ReserveForBuyInRequest(**DEPOSIT), "table_id"),
        ("ReserveForBuyIn", pb.ReserveForBuyInRequest(**RESERVE, timeout_seconds=-1), "timeout_seconds"),
        ("ReserveForBuyIn", pb.ReserveForBuyInRequest(**RESERVE, timeout_seconds=86401), "timeout_seconds"),
        ("CommitReservation", pb.CommitReservationRequest(), "reservation_id"),
        ("ReleaseReservation", pb.ReleaseReservationRequest(), "reservation_id"),
        ("ProcessCashOut", pb.ProcessCashOutRequest(**RESERVE, seat_id=-1), "seat_id"),
        ("ProcessCashOut", pb.ProcessCashOutRequest(**RESERVE, hand_id="a b"), "hand_id"),
    ],
)
def test_a_malformed_request_names_its_field(
    stub: BalanceServiceStub, method: str, request_: Message, field: str
) -> None:
    """Whatever the state, so it is refused before it is queued."""
    error = failure(getattr(stub, method), request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(error.details()).startswith(field)


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["garbage", "bad UTF-8"])
def test_bytes_that_are_no_message_are_an_invalid_argument(channel: grpc.Channel, raw: bytes) -> None:
    """The fault is the caller's."""
    error = failure(channel.unary_unary("/balance.BalanceService/Deposit"), raw)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_beyond_64_kib_is_refused(stub: BalanceServiceStub) -> None:
    """Before it is read into memory."""
    error = failure(stub.Deposit, pb.DepositRequest(source="x" * 65_536))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not may_pass(error.code(), error.details() or ""), "a client sends it once"


def test_a_burst_is_answered_call_by_call(stub: BalanceServiceStub) -> None:
    """More calls at once than gRPC by itself lets wait (1000): each is applied or told that too much waits.

    None is reset. Those refused, of whom a slow machine has some, are applied when they come again.
    """
    account_id = opened(stub, 0)
    waiting = [
        pb.DepositRequest(account_id=account_id, amount=1, idempotency_key=new_id()) for _ in range(3000)
    ]
    while waiting:
        calls = [stub.Deposit.future(request, timeout=60) for request in waiting]
        codes = [call.code() for call in calls]
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        waiting = [
            request for request, code in zip(waiting, codes, strict=True) if code is not grpc.StatusCode.OK
        ]
    assert balance_of(stub, account_id) == (3000, 3000, 3000)


def test_a_callers_request_id_comes_back(stub: BalanceServiceStub) -> None:
    """In the trailing metadata."""
    _, call = stub.GetBalance.with_call(
        pb.GetBalanceRequest(account_id="a"), timeout=TIMEOUT, metadata=(("x-request-id", "req-1"),)
    )
    assert dict(call.trailing_metadata()) == {"x-request-id": "req-1"}


def health_of(channel: grpc.Channel, service: str) -> int:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status


@pytest.mark.parametrize("name", ["", "balance.BalanceService"])
def test_health_says_serving(channel: grpc.Channel, name: str) -> None:
    """For the server as a whole and for its one service, as load balancers ask."""
    assert health_of(channel, name) == health_pb2.HealthCheckResponse.SERVING


def test_reflection_shows_the_contract(channel: grpc.Channel) -> None:
    """Tools need no proto file."""
    reflected = ProtoReflectionDescriptorDatabase(channel)
    assert "balance.BalanceService" in reflected.get_services()
    assert reflected.FindFileContainingSymbol("balance.BalanceService").package == "balance"


def test_the_command_line_calls_any_method(service: RunningService) -> None:
    """`balance call` finds the service, prints the answer as JSON and a failed call on standard error."""
    account_id = new_id()
    opened = balance(service, "call", "EnsureAccount", f"account_id={account_id}", "initial_balance=5")
    assert opened.stdout == f'{{"account_id": "{account_id}", "balance": 5, "created": true}}\n'
    failed = balance(service, "call", "EnsureAccount", "initial_balance=5")
    assert (failed.returncode, failed.stderr) == (1, "INVALID_ARGUMENT: account_id is missing\n")


def test_the_exit_code_of_a_call_says_whether_it_was_done(service: RunningService) -> None:
    """A script that pays only when chips were withdrawn must not read the answer for it."""
    withdraw = ("call", "Withdraw", f"account_id={new_id()}", "amount=5", "idempotency_key=k")
    refused = balance(service, *withdraw)
    assert (refused.returncode, refused.stderr) == (1, "")
    assert '"ok": false, "transaction_id": "", "error": "ACCOUNT_NOT_FOUND"' in refused.stdout
    nobody = balance(service, *withdraw, "--target", "127.0.0.1:1", "--timeout", "2")
    assert (nobody.returncode, nobody.stdout) == (2, "")
