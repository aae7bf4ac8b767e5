"""The checker of the crash tests finds what it is there for: one that never fails proves nothing."""

from collections.abc import Sequence

import pytest
from google.protobuf.message import Message

from app.rpc.gen import balance_pb2 as pb
from tests.support.checker import Checker

Exchange = tuple[Message, Message]


def deposit(amount: int, new_balance: int, key: str = "k", transaction_id: str = "") -> Exchange:
    return (
        pb.DepositRequest(account_id="a", amount=amount, idempotency_key=key),
        pb.DepositResponse(ok=True, transaction_id=transaction_id or f"t-{key}", new_balance=new_balance),
    )


def withdraw(amount: int, new_balance: int = 0, error: str = "") -> Exchange:
    return (
        pb.WithdrawRequest(account_id="a", amount=amount, idempotency_key="w"),
        pb.WithdrawResponse(ok=not error, error=error, new_balance=new_balance),
    )


def reserve(amount: int, available: int, reservation_id: str = "r") -> Exchange:
    return (
        pb.ReserveForBuyInRequest(account_id="a", amount=amount, idempotency_key=f"k-{reservation_id}"),
        pb.ReserveForBuyInResponse(ok=True, reservation_id=reservation_id, available_balance=available),
    )


def commit(new_balance: int = 0, error: str = "", transaction_id: str = "t-r") -> Exchange:
    return (
        pb.CommitReservationRequest(reservation_id="r"),
        pb.CommitReservationResponse(
            ok=not error, error=error, new_balance=new_balance, transaction_id=transaction_id
        ),
    )


def release(available: int = 0, error: str = "") -> Exchange:
    return (
        pb.ReleaseReservationRequest(reservation_id="r"),
        pb.ReleaseReservationResponse(ok=not error, error=error, available_balance=available),
    )


def look(balance: int, available: int | None = None) -> Exchange:
    return (
        pb.GetBalanceRequest(account_id="a"),
        pb.GetBalanceResponse(balance=balance, available_balance=balance if available is None else available),
    )


def in_turn(*exchanges: Exchange) -> list[str]:
    checker = Checker()
    for request, answer in exchanges:
        checker.answered(checker.sent("a", request), answer)
    return checker.problems()


def at_once(before: Sequence[Exchange], group: Sequence[Exchange], after: Sequence[Exchange]) -> list[str]:
    checker = Checker()
    for request, answer in before:
        checker.answered(checker.sent("a", request), answer)
    for call, answer in [(checker.sent("a", request), answer) for request, answer in group]:
        checker.answered(call, answer)
    for request, answer in after:
        checker.answered(checker.sent("a", request), answer)
    return checker.problems()


def test_a_true_story_has_no_problems() -> None:
    """Repetitions, refusals and holds included."""
    assert not in_turn(
        deposit(100, 100),
        deposit(100, 100),
        reserve(60, 40),
        withdraw(50, error="INSUFFICIENT_BALANCE"),
        commit(40),
        commit(40),
        release(error="ALREADY_COMMITTED"),
        look(40),
    )


@pytest.mark.parametrize(
    "story",
    [
        pytest.param([deposit(5, 5), look(0)], id="an answered change is missing"),
        pytest.param([deposit(5, 5), look(10)], id="a change was applied twice"),
        pytest.param([deposit(5, 5), deposit(5, 10), look(5)], id="a key had two answers"),
        pytest.param([deposit(5, 5), deposit(5, 5, transaction_id="t"), look(5)], id="two transactions"),
        pytest.param([deposit(5, 5, "k", "t"), deposit(5, 10, "l", "t"), look(10)], id="one for two keys"),
        pytest.param([deposit(5, 12), deposit(7, 7, "l"), look(12)], id="applied out of order"),
        pytest.param([deposit(5, 5), deposit(6, 5), look(5)], id="a key was taken with other content"),
        pytest.param([deposit(5, 5), withdraw(6, -1), look(-1)], id="more was spent than there was"),
        pytest.param([deposit(9, 9), reserve(6, 3), withdraw(4, 5), look(5, -1)], id="a hold was spent"),
        pytest.param([deposit(9, 9), withdraw(9, error="INSUFFICIENT_BALANCE"), look(9)], id="refused"),
        pytest.param([deposit(9, 9), reserve(6, 3), release(9), commit(3), look(3)], id="revived"),
        pytest.param([deposit(9, 9), reserve(6, 3), look(9, 9)], id="a hold was forgotten"),
        pytest.param([deposit(5, 5)], id="nobody looked at the end"),
    ],
)
def test_a_story_that_cannot_be_is_found(story: list[Exchange]) -> None:
    """Each ends with a look that fits, unless the look is what is wrong: nothing else may give it away."""
    assert in_turn(*story)


def test_an_unanswered_call_is_a_problem() -> None:
    """A driver that gives up must not look like a service that is right."""
    checker = Checker()
    checker.sent("a", look(0)[0])
    assert checker.problems()


def test_calls_at_once_may_apply_in_any_order() -> None:
    """But in one order: the answers of all must fit it."""
    before, after = [deposit(10, 10)], [look(22)]
    assert not at_once(before, [deposit(5, 22, "x"), deposit(7, 17, "y"), deposit(5, 22, "x")], after)
    assert at_once(before, [deposit(5, 15, "x"), deposit(7, 17, "y")], after)
    assert at_once(before, [deposit(5, 22, "x"), deposit(7, 17, "y")], [look(17)])
