"""What has happened on an account, over HTTP: pages, windows, links, and what is held."""

from uuid import uuid4

import pytest

from tests.support.service import RunningService, balance
from tests.support.web import ask, code_of, opened, post


@pytest.fixture(scope="module")
def player(service: RunningService) -> str:
    """An account: opened with 100 chips, two deposits, a withdrawal, 30 chips held."""
    account_id = opened(service, 100)
    for amount in (1, 2):
        post(service, f"/api/accounts/{account_id}/deposit", {"amount": amount, "source": "BONUS"})
    post(service, f"/api/accounts/{account_id}/withdraw", {"amount": 4, "reason": "home"})
    held = balance(
        service, "call", "ReserveForBuyIn", f"account_id={account_id}", "table_id=t", "amount=30",
        "idempotency_key=k", "timeout_seconds=600",
    )  # fmt: skip
    assert held.returncode == 0, held.stderr
    return account_id


def test_transactions_come_newest_first(service: RunningService, player: str) -> None:
    """With what each was for, and how many there are on all pages."""
    page = ask(service, f"/api/accounts/{player}/transactions", service.token).body
    assert (page["total"], page["limit"], page["offset"]) == (4, 50, 0)
    shown = [
        (each["type"], each["amount"], each["balanceAfter"], each["metadata"])
        for each in page["transactions"]
    ]
    assert shown == [
        ("WITHDRAW", 4, 99, {"reason": "home"}),
        ("BONUS", 2, 103, {"source": "BONUS"}),
        ("BONUS", 1, 101, {"source": "BONUS"}),
        ("DEPOSIT", 100, 100, {"source": "INITIAL"}),
    ]


def test_transactions_come_in_pages_and_by_type(service: RunningService, player: str) -> None:
    """The total is that of the type; a type that accounts never have is known, and empty."""
    path = f"/api/accounts/{player}/transactions"
    page = ask(service, f"{path}?limit=1&offset=1&type=BONUS", service.token).body
    assert [each["amount"] for each in page["transactions"]] == [1]
    assert (page["total"], page["limit"], page["offset"]) == (2, 1, 1)
    assert ask(service, f"{path}?type=BLIND", service.token).body["total"] == 0
    assert ask(service, f"{path}?offset=4", service.token).body["transactions"] == []


def test_a_transaction_is_found_by_its_id(service: RunningService, player: str) -> None:
    """On its account by its owner, anywhere by services; nowhere on another account."""
    path = f"/api/accounts/{player}/transactions"
    for each in ask(service, path, service.token).body["transactions"]:
        found = ask(service, f"{path}/{each['transactionId']}", service.token)
        assert (found.status, found.body) == (200, each)
        assert ask(service, f"/api/transactions/{each['transactionId']}", service.token).body == each
        elsewhere = ask(
            service, f"/api/accounts/{opened(service)}/transactions/{each['transactionId']}", service.token
        )
        assert (elsewhere.status, code_of(elsewhere)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "transaction_id", ["nonsense", "999-aaaaaaaaaaaaaaaaaaaaaaaaaa", "%00", "é".encode().hex()]
)
def test_an_unknown_transaction_is_not_found(service: RunningService, transaction_id: str) -> None:
    """Also where its id is none."""
    answer = ask(service, f"/api/transactions/{transaction_id}", service.token)
    assert (answer.status, code_of(answer)) == (404, "NOT_FOUND")


def test_the_ledger_is_a_chain(service: RunningService, player: str) -> None:
    """Each link repeats the checksum of the one before, up to the latest."""
    ledger = ask(service, f"/api/accounts/{player}/ledger", service.token).body
    entries = ledger["entries"]
    assert ledger["total"] == len(entries) == 4
    assert ledger["latestChecksum"] == entries[0]["checksum"]
    before = [*(entry["checksum"] for entry in entries[1:]), "GENESIS"]
    assert [entry["previousChecksum"] for entry in entries] == before
    assert [entry["amount"] for entry in entries] == [-4, 2, 1, 100]
    assert {entry["accountId"] for entry in entries} == {player}


def test_a_window_of_the_ledger_includes_its_ends(service: RunningService, player: str) -> None:
    """Times are those that the entries show; the latest checksum is the account's all the same."""
    path = f"/api/accounts/{player}/ledger"
    entries = ask(service, path, service.token).body["entries"]
    begin, end = entries[2]["timestamp"], entries[1]["timestamp"]
    window = ask(service, f"{path}?from={begin}&to={end}&limit=200", service.token).body
    wanted = [entry for entry in entries if begin <= entry["timestamp"] <= end]
    assert window["entries"] == wanted
    assert (window["total"], window["latestChecksum"]) == (len(wanted), entries[0]["checksum"])
    assert ask(service, f"{path}?to=1999-12-31T23:59:59%2B01:00", service.token).body["total"] == 0
    one = ask(service, f"{path}?limit=1", service.token).body
    assert (one["entries"], one["total"]) == (entries[:1], 4)


def test_an_account_without_a_past(service: RunningService) -> None:
    """It has an empty one."""
    account_id = opened(service)
    for what, empty in {
        "transactions": {"transactions": [], "total": 0, "limit": 50, "offset": 0},
        "ledger": {"entries": [], "total": 0, "latestChecksum": "GENESIS"},
        "reservations": {"reservations": []},
    }.items():
        answer = ask(service, f"/api/accounts/{account_id}/{what}", service.token)
        assert (answer.status, answer.body) == (200, empty)


def test_what_is_held_is_shown(service: RunningService, player: str) -> None:
    """As long as it is held."""
    (held,) = ask(service, f"/api/accounts/{player}/reservations", service.token).body["reservations"]
    assert (held["accountId"], held["tableId"], held["amount"], held["status"]) == (player, "t", 30, "HELD")
    assert held["createdAt"] < held["expiresAt"]


@pytest.mark.parametrize("what", ["balance", "transactions", "ledger", "reservations"])
def test_an_account_nobody_opened_is_not_found(service: RunningService, what: str) -> None:
    """Unlike in gRPC, where its balance shows zeros."""
    answer = ask(service, f"/api/accounts/{uuid4().hex}/{what}", service.token)
    assert (answer.status, code_of(answer)) == (404, "ACCOUNT_NOT_FOUND")
