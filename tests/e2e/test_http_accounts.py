"""Accounts over HTTP: what opening, depositing and withdrawing answer, first and again."""

from uuid import uuid4

import pytest

from app.services.tokens import mint
from tests.support.service import RunningService, running_service
from tests.support.web import Answer, ask, balance_of, code_of, opened, post, settings_of

MAX = 2**53 - 1


def replayed(answer: Answer) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


def test_an_account_is_opened_once(service: RunningService) -> None:
    """The first call creates, every other one tells what is there."""
    account_id = uuid4().hex
    path = f"/api/accounts/{account_id}"
    first = post(service, path, {"initialBalance": 5}, key=None)
    again = post(service, path, {"initialBalance": 7}, key=None)
    shown = {"accountId": account_id, "balance": 5, "currency": "CHIPS"}
    assert (first.status, first.body) == (201, shown | {"created": True})
    assert (again.status, again.body) == (200, shown | {"created": False})


def test_a_players_own_account_begins_empty(service: RunningService) -> None:
    """Opening is for players too; chips from nothing are not."""
    player = uuid4().hex
    token = mint(settings_of(service), player)
    refused = post(service, f"/api/accounts/{player}", {"initialBalance": 1}, token=token, key=None)
    assert (refused.status, code_of(refused)) == (403, "FORBIDDEN")
    answer = post(service, f"/api/accounts/{player}", {}, token=token, key=None)
    assert (answer.status, answer.body["balance"]) == (201, 0)


@pytest.mark.parametrize(
    ("source", "kind"),
    [("BONUS", "BONUS"), ("REFERRAL", "REFERRAL"), ("bonus", "DEPOSIT"), ("é ", "DEPOSIT")],
)
def test_a_deposit_answers_its_transaction(service: RunningService, source: str, kind: str) -> None:
    """The source decides the type, and is kept."""
    account_id = opened(service, 10)
    answer = post(service, f"/api/accounts/{account_id}/deposit", {"amount": 4, "source": source})
    assert answer.status == 200
    transaction = answer.body
    assert transaction["createdAt"] == transaction["completedAt"]
    assert {**transaction, "transactionId": "", "createdAt": "", "completedAt": ""} == {
        "transactionId": "",
        "type": kind,
        "amount": 4,
        "balanceBefore": 10,
        "balanceAfter": 14,
        "status": "COMPLETED",
        "createdAt": "",
        "completedAt": "",
    }
    kept = ask(service, f"/api/transactions/{transaction['transactionId']}", service.token)
    assert kept.body == transaction | {"metadata": {"source": source}}


def test_a_withdrawal_answers_its_transaction(service: RunningService) -> None:
    """Its amount is positive: the type says which way."""
    account_id = opened(service, 10)
    answer = post(service, f"/api/accounts/{account_id}/withdraw", {"amount": 10, "reason": "home"})
    assert answer.status == 200
    assert (answer.body["type"], answer.body["amount"], answer.body["balanceAfter"]) == ("WITHDRAW", 10, 0)


def test_a_repeated_request_is_answered_and_not_repeated(service: RunningService) -> None:
    """The same key gives the first answer, and says so; a deposit to nobody opens the account."""
    account_id, key = uuid4().hex, "a key, with é"
    path, body = f"/api/accounts/{account_id}/deposit", {"amount": 3, "source": "s"}
    first = ask_with(service, path, body, key)
    again = ask_with(service, path, body, key)
    assert (first.status, replayed(first)) == (200, False)
    assert (again.status, replayed(again), again.body) == (200, True, first.body)
    assert balance_of(service, account_id) == 3


def ask_with(service: RunningService, path: str, body: object, key: str) -> Answer:
    """With a key as it stands in UTF-8."""
    return post(service, path, body, key=key.encode().decode("latin-1"))


def test_a_key_with_another_body_is_refused(service: RunningService) -> None:
    """Whatever else is wrong with it; and changes nothing."""
    account_id = opened(service, 10)
    path = f"/api/accounts/{account_id}/withdraw"
    assert post(service, path, {"amount": 3}, key="k").status == 200
    for body in ({"amount": 4}, {"amount": 3, "reason": "other"}, {"amount": 400}):
        answer = post(service, path, body, key="k")
        assert (answer.status, code_of(answer)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert balance_of(service, account_id) == 7


def test_a_refusal_stays_with_its_key(service: RunningService) -> None:
    """A retry is told the same, though by now the chips are there."""
    account_id = opened(service, 10)
    path = f"/api/accounts/{account_id}/withdraw"
    first = post(service, path, {"amount": 11}, key="k")
    assert (first.status, code_of(first), replayed(first)) == (409, "INSUFFICIENT_BALANCE", False)
    assert post(service, f"/api/accounts/{account_id}/deposit", {"amount": 1, "source": "s"}).status == 200
    again = post(service, path, {"amount": 11}, key="k")
    assert (again.status, code_of(again), replayed(again)) == (409, "INSUFFICIENT_BALANCE", True)
    assert post(service, path, {"amount": 11}, key="l").status == 200


def test_a_balance_never_passes_the_range(service: RunningService) -> None:
    """JSON readers would lose chips beyond it."""
    account_id = opened(service, MAX)
    answer = post(service, f"/api/accounts/{account_id}/deposit", {"amount": 1, "source": "s"})
    assert (answer.status, code_of(answer)) == (409, "INVALID_AMOUNT")
    assert balance_of(service, account_id) == MAX


def test_nobody_withdraws_from_an_account_that_is_not_there(service: RunningService) -> None:
    """A withdrawal opens nothing."""
    answer = post(service, f"/api/accounts/{uuid4().hex}/withdraw", {"amount": 1})
    assert (answer.status, code_of(answer)) == (404, "ACCOUNT_NOT_FOUND")


def test_play_money_is_the_players_own_to_make() -> None:
    """With PLAYER_DEPOSITS=allow: on their own account, not on another's."""
    with running_service(PLAYER_DEPOSITS="allow", PARTITIONS="4") as service:
        token = mint(settings_of(service), "alice")
        own = post(service, "/api/accounts/alice", {"initialBalance": 5}, token=token, key=None)
        assert (own.status, own.body["balance"]) == (201, 5)
        deposit = {"amount": 2, "source": "play"}
        assert post(service, "/api/accounts/alice/deposit", deposit, token=token).status == 200
        assert post(service, "/api/accounts/bob/deposit", deposit, token=token).status == 403
        other = post(service, "/api/accounts/bob", {"initialBalance": 5}, token=token, key=None)
        assert other.status == 403
