"""`balance call`: FIELD=VALUE becomes a request, an answer becomes JSON, whatever the method."""

import click
import pytest

from app.cli.call import plain, request_of
from app.rpc.gen import balance_pb2 as pb

METHODS = pb.DESCRIPTOR.services_by_name["BalanceService"].methods_by_name


def test_texts_and_numbers_fill_the_request() -> None:
    """A value may hold "=", and a text may look like a number."""
    given = ["account_id=007", "amount=9007199254740991", "source=a=b", "idempotency_key="]
    expected = pb.DepositRequest(account_id="007", amount=2**53 - 1, source="a=b")
    assert request_of(METHODS["Deposit"], given) == expected


def test_lists_messages_and_enums_fill_the_request() -> None:
    """Lists as JSON, values of enums by their names."""
    given = [
        'winners=[{"seat_id": 1, "account_id": "a", "amount": 40}]',
        "payout_to=TABLE",
        "folded_seat_ids=[2]",
    ]
    assert request_of(METHODS["SettlePot"], given) == pb.SettlePotRequest(
        winners=[pb.PotWinner(seat_id=1, account_id="a", amount=40)],
        payout_to=pb.SettlePotRequest.TABLE,
        folded_seat_ids=[2],
    )


@pytest.mark.parametrize(
    ("method", "assignment"),
    [
        ("Deposit", "amount"),
        ("Deposit", "ammount=5"),
        ("Deposit", "amount=much"),
        ("Deposit", "amount=0.5"),
        ("Deposit", "amount=9223372036854775808"),
        ("SettlePot", "winners=[{"),
        ("SettlePot", 'winners=[{"seat": 1}]'),
        ("SettlePot", "payout_to=POCKET"),
    ],
)
def test_what_does_not_fit_is_named(method: str, assignment: str) -> None:
    """Before anything is sent."""
    with pytest.raises(click.UsageError, match=assignment.partition("=")[0]):
        request_of(METHODS[method], [assignment])


def test_an_answer_shows_every_field() -> None:
    """Under its proto name, at its default too, and amounts as numbers."""
    assert plain(pb.DepositResponse(ok=True, new_balance=5)) == {
        "ok": True,
        "transaction_id": "",
        "error": "",
        "new_balance": 5,
    }
    settled = pb.SettlePotResponse(results=[pb.SettlementResult(account_id="a", amount=4)])
    assert plain(settled)["results"] == [
        {"account_id": "a", "transaction_id": "", "amount": 4, "new_balance": 0}
    ]
