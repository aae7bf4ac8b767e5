"""Calls and answers: every method of the contract, under the same names in both clients."""

import inspect
from typing import Any

import pytest

from app.client import (
    Account,
    AsyncBalanceClient,
    Balance,
    BalanceClient,
    Batch,
    BatchItem,
    BatchItems,
    Command,
    CommandAnswer,
    Contribution,
    Payout,
    PayoutTo,
    Pot,
    PotCancelled,
    PotEntry,
    RakeRule,
    Refused,
    Released,
    Reservation,
    ReservationRecord,
    SeatContribution,
    Settlement,
    SidePot,
    Submitted,
    Table,
    Transaction,
    Winner,
    batches,
    calls,
    jobs,
)
from app.client.calls import Call
from app.client.gen import balance_pb2 as pb

RESERVATION = pb.Reservation(
    reservation_id="r",
    account_id="a",
    table_id="t1",
    amount=5,
    status="COMMITTED",
    created_at="then",
    expires_at="later",
    ended_at="now",
    transaction_id="t",
)
BATCH = pb.Batch(
    batch_id="b",
    items=9,
    total=90,
    sent=8,
    settled=7,
    applied=4,
    replayed=3,
    refused=2,
    parked=1,
    finished=True,
    created_at="then",
    submitted_by="ops",
    cancelled_at="later",
)
BATCH_SHOWN = Batch(
    "b", 9, 90, 8, 7, 4, 3, 2, 1, finished=True, created_at="then", submitted_by="ops", cancelled_at="later"
)
RESERVATION_RECORD = ReservationRecord("r", "a", "t1", 5, "COMMITTED", "then", "later", "now", "t")

# The call, the request that it makes, and how an answer is read.
TABLE: list[tuple[Call[Any], Any, Any, Any]] = [
    (
        calls.get_balance("a"),
        pb.GetBalanceRequest(account_id="a"),
        pb.GetBalanceResponse(account_id="a", balance=5, available_balance=4, currency="CHIPS", version=2),
        Balance("a", 5, 4, "CHIPS", 2, stale=False, as_of=""),
    ),
    (
        calls.ensure_account("a", 5),
        pb.EnsureAccountRequest(account_id="a", initial_balance=5),
        pb.EnsureAccountResponse(account_id="a", balance=5, created=True),
        Account("a", 5, created=True),
    ),
    (
        calls.deposit("a", 5, source="BONUS", idempotency_key="k"),
        pb.DepositRequest(account_id="a", amount=5, source="BONUS", idempotency_key="k"),
        pb.DepositResponse(ok=True, transaction_id="t", new_balance=5),
        Transaction("t", 5),
    ),
    (
        calls.withdraw("a", 5, reason="r", idempotency_key="k"),
        pb.WithdrawRequest(account_id="a", amount=5, reason="r", idempotency_key="k"),
        pb.WithdrawResponse(ok=True, transaction_id="t"),
        Transaction("t", 0),
    ),
    (
        calls.reserve("a", "t1", 5, timeout_seconds=60, idempotency_key="k"),
        pb.ReserveForBuyInRequest(
            account_id="a", table_id="t1", amount=5, timeout_seconds=60, idempotency_key="k"
        ),
        pb.ReserveForBuyInResponse(ok=True, reservation_id="r", available_balance=1),
        Reservation("r", 1),
    ),
    (
        calls.commit("r"),
        pb.CommitReservationRequest(reservation_id="r"),
        pb.CommitReservationResponse(ok=True, transaction_id="t", new_balance=5),
        Transaction("t", 5),
    ),
    (
        calls.release("r", reason="why"),
        pb.ReleaseReservationRequest(reservation_id="r", reason="why"),
        pb.ReleaseReservationResponse(ok=True, available_balance=5),
        Released(5),
    ),
    (
        calls.cash_out("a", "t1", 3, 5, hand_id="h", idempotency_key="k"),
        pb.ProcessCashOutRequest(
            account_id="a", table_id="t1", seat_id=3, amount=5, hand_id="h", idempotency_key="k"
        ),
        pb.ProcessCashOutResponse(ok=True, transaction_id="t", new_balance=5),
        Transaction("t", 5),
    ),
    (
        calls.record_contribution("t1", "h", 3, "a", 5, contribution_type="BET", idempotency_key="k"),
        pb.RecordContributionRequest(
            table_id="t1",
            hand_id="h",
            seat_id=3,
            account_id="a",
            amount=5,
            contribution_type="BET",
            idempotency_key="k",
        ),
        pb.RecordContributionResponse(ok=True, total_pot=9, seat_contribution=5),
        Contribution(9, 5),
    ),
    (
        calls.settle_pot(
            "t1", "h", [Winner(3, "a", 9)], payout_to=PayoutTo.TABLE, folded_seat_ids=[1], idempotency_key="k"
        ),
        pb.SettlePotRequest(
            table_id="t1",
            hand_id="h",
            winners=[pb.PotWinner(seat_id=3, account_id="a", amount=9)],
            payout_to=pb.SettlePotRequest.TABLE,
            folded_seat_ids=[1],
            idempotency_key="k",
        ),
        pb.SettlePotResponse(
            ok=True,
            results=[pb.SettlementResult(account_id="a", transaction_id="t", amount=8, new_balance=5)],
        ),
        Settlement((Payout("a", "t", 8, 5),)),
    ),
    (
        calls.cancel_pot("t1", "h", reason="why"),
        pb.CancelPotRequest(table_id="t1", hand_id="h", reason="why"),
        pb.CancelPotResponse(ok=True),
        PotCancelled(),
    ),
    (
        calls.get_pot("t1", "h"),
        pb.GetPotRequest(table_id="t1", hand_id="h"),
        pb.GetPotResponse(
            ok=True,
            pot=pb.Pot(
                table_id="t1",
                hand_id="h",
                status="SETTLED",
                version=2,
                total=9,
                contributions=[pb.SeatContribution(seat_id=3, account_id="a", amount=9)],
                side_pots=[pb.SidePot(amount=9, seat_ids=[3, 4])],
                rake_amount=1,
                rake_rule=pb.RakeRule(basis_points=500, cap=5, min_pot=8),
                results=[pb.SettlementResult(account_id="a", transaction_id="t", amount=8, new_balance=5)],
                entries=[
                    pb.PotEntry(
                        type="BET",
                        seat_id=3,
                        account_id="a",
                        amount=9,
                        contribution_type="ALL_IN",
                        created_at="then",
                    )
                ],
                created_at="then",
                ended_at="now",
            ),
        ),
        Pot(
            table_id="t1",
            hand_id="h",
            status="SETTLED",
            version=2,
            total=9,
            contributions=(SeatContribution(3, "a", 9),),
            side_pots=(SidePot(9, (3, 4)),),
            rake_amount=1,
            rake_rule=RakeRule(500, 5, 8),
            results=(Payout("a", "t", 8, 5),),
            entries=(PotEntry("BET", 3, "a", 9, "ALL_IN", "then"),),
            created_at="then",
            ended_at="now",
        ),
    ),
    (
        calls.get_table("t1"),
        pb.GetTableRequest(table_id="t1"),
        pb.GetTableResponse(
            table_id="t1",
            in_play=[pb.ChipsInPlay(account_id="a", amount=-2), pb.ChipsInPlay(account_id="b", amount=7)],
            open_pots=[pb.OpenPot(hand_id="h", total=3)],
            total_in_play=5,
            total_in_pots=3,
            deficit=2,
        ),
        Table("t1", {"a": -2, "b": 7}, {"h": 3}, total_in_play=5, total_in_pots=3, deficit=2),
    ),
    (
        calls.get_reservation("r"),
        pb.GetReservationRequest(reservation_id="r"),
        pb.GetReservationResponse(ok=True, reservation=RESERVATION),
        RESERVATION_RECORD,
    ),
    (
        calls.list_reservations("a"),
        pb.ListReservationsRequest(account_id="a"),
        pb.ListReservationsResponse(reservations=[RESERVATION]),
        (RESERVATION_RECORD,),
    ),
    (
        jobs.submit(calls.deposit("a", 5, idempotency_key="k")),
        pb.SubmitCommandRequest(deposit=pb.DepositRequest(account_id="a", amount=5, idempotency_key="k")),
        pb.SubmitCommandResponse(ok=True, command_id="c", status="done", replayed=True),
        Submitted("c", "done", replayed=True),
    ),
    (
        jobs.submit_payout("a", 5, payout_type="BONUS", reason="r", idempotency_key="k"),
        pb.SubmitCommandRequest(
            payout=pb.PayoutRequest(account_id="a", amount=5, type="BONUS", reason="r", idempotency_key="k")
        ),
        pb.SubmitCommandResponse(ok=True, command_id="c", status="queued"),
        Submitted("c", "queued", replayed=False),
    ),
    (
        jobs.get_command("c"),
        pb.GetCommandRequest(command_id="c"),
        pb.GetCommandResponse(
            ok=True,
            command=pb.SubmittedCommand(
                command_id="c",
                status="done",
                operation="Payout",
                aggregate_id="a",
                submitted_at="then",
                done_at="now",
                answer=pb.CommandAnswer(ok=True, transaction_id="t", amount=5, new_balance=6),
            ),
        ),
        Command(
            *("c", "done", "Payout", "a", "then", "now", ""),
            answer=CommandAnswer(
                ok=True,
                error="",
                replayed=False,
                transaction_id="t",
                reservation_id="",
                amount=5,
                new_balance=6,
                available_balance=0,
            ),
        ),
    ),
    (
        batches.submit_batch([], batch_id="b", count=9, total=90, dry_run=True, all_or_nothing=True),
        pb.SubmitBatchRequest(
            header=pb.BatchHeader(batch_id="b", count=9, total=90, dry_run=True, all_or_nothing=True)
        ),
        pb.SubmitBatchResponse(ok=True, batch_id="b", batch=BATCH),
        BATCH_SHOWN,
    ),
    (
        batches.get_batch("b", brief=True),
        pb.GetBatchRequest(batch_id="b", brief=True),
        pb.GetBatchResponse(ok=True, batch=BATCH),
        BATCH_SHOWN,
    ),
    (
        batches.list_batch_items("b", after_line=3, failed=True),
        pb.ListBatchItemsRequest(batch_id="b", after_line=3, failed=True),
        pb.ListBatchItemsResponse(
            ok=True,
            items=[
                pb.BatchItem(
                    line=4,
                    status="parked",
                    error="DEAD_LETTERED",
                    dead_letter_id="d",
                    item=pb.PayoutItem(
                        line=4, account_id="a", amount=5, idempotency_key="k", type="BONUS", reason="r"
                    ),
                )
            ],
            next_line=4,
        ),
        BatchItems((BatchItem(4, "parked", "DEAD_LETTERED", "d", "a", 5, "k", "BONUS", "r"),), next_line=4),
    ),
    (
        batches.cancel_batch("b"),
        pb.CancelBatchRequest(batch_id="b"),
        pb.CancelBatchResponse(ok=True, batch=BATCH),
        BATCH_SHOWN,
    ),
]


@pytest.mark.parametrize(
    ("call", "request_made", "message", "value"), TABLE, ids=[row[0].method for row in TABLE]
)
def test_a_call_makes_its_request_and_reads_its_answer(
    call: Call[Any], request_made: Any, message: Any, value: Any
) -> None:
    """Field by field: what is not filled in here would be lost on the wire."""
    assert call.request == request_made
    assert call.answer(message) == value


def test_every_method_of_the_contract_is_there() -> None:
    """A method that is added to the proto file is added to both clients."""
    methods = set(pb.DESCRIPTOR.services_by_name["BalanceService"].methods_by_name)
    assert {row[0].method for row in TABLE} == methods


@pytest.mark.parametrize("client", [BalanceClient, AsyncBalanceClient])
def test_both_clients_have_each_call_with_its_parameters(client: type) -> None:
    """`help()` and editors see the call's own signature, and the answer instead of the call."""
    built = {
        name: build
        for module in (batches, calls, jobs)
        for name, build in inspect.getmembers(module, inspect.isfunction)
        if build.__module__ == module.__name__ and name[0] != "_"
    }
    assert len(built) == len(TABLE)
    for name, build in built.items():
        method, own = inspect.signature(getattr(client, name)), inspect.signature(build)
        assert list(method.parameters.values())[1:] == list(own.parameters.values())
        assert own.return_annotation.__args__ == (method.return_annotation,)
        assert inspect.iscoroutinefunction(getattr(client, name)) is (client is AsyncBalanceClient)


def test_a_made_key_is_one_per_call() -> None:
    """Two calls are two commands; one call is one, however often it is sent."""
    first, second = calls.deposit("a", 5), calls.deposit("a", 5)
    assert first.idempotency_key == first.idempotency_key != second.idempotency_key
    assert calls.deposit("a", 5, idempotency_key="").idempotency_key == ""
    assert calls.commit("r").idempotency_key == ""
    assert jobs.submit(first).idempotency_key == first.idempotency_key


def test_what_carries_no_key_cannot_be_submitted() -> None:
    """Submitted again it would be another command."""
    with pytest.raises(ValueError, match="CommitReservation carries no idempotency key"):
        jobs.submit(calls.commit("r"))


def test_a_refusal_is_raised_with_what_it_told() -> None:
    """The code to act on, and the rest of the answer to show."""
    message = pb.ReserveForBuyInResponse(error="INSUFFICIENT_BALANCE", available_balance=4)
    with pytest.raises(Refused) as refused:
        calls.reserve("a", "t1", 5).answer(message)
    assert refused.value.code == "INSUFFICIENT_BALANCE"
    assert refused.value.answer["available_balance"] == 4
    assert str(refused.value) == "ReserveForBuyIn refused: INSUFFICIENT_BALANCE"


def test_a_pot_that_is_not_settled_names_no_rake_rule() -> None:
    """The rule is settled with the pot; until then no rule would be the truth."""
    message = pb.GetPotResponse(ok=True, pot=pb.Pot(status="ACTIVE"))
    assert calls.get_pot("t1", "h").answer(message).rake_rule is None


def test_an_answer_that_is_not_ok_is_never_success() -> None:
    """Even if it forgets to say why."""
    with pytest.raises(Refused):
        calls.commit("r").answer(pb.CommitReservationResponse())
