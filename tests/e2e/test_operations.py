"""Everyday operations on a running service: on the command line, and by HTTP where that tells more."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from app.client import BalanceClient
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.support.service import RunningService, balance
from tests.support.waiting import eventually
from tests.support.web import ask, balance_of, code_of, opened, post, settings_of


def told(service: RunningService, *arguments: str, exit_code: int = 0) -> Any:
    """What a command says with `--json`: one object on one line."""
    run = balance(service, *arguments, "--json")
    assert run.returncode == exit_code, (arguments, run.returncode, run.stdout, run.stderr)
    (line,) = run.stdout.splitlines()
    return json.loads(line)


def deposit(service: RunningService, account_id: str, amount: int = 5) -> Any:
    return post(service, f"/api/accounts/{account_id}/deposit", {"amount": amount, "source": "s"})


def last_lines(service: RunningService, count: int) -> list[tuple[str, str, str]]:
    """What the newest lines of the ops log say, oldest first."""
    lines = ask(service, f"/api/ops/log?limit={count}", service.token).body["lines"]
    return [(line["what"], line["why"], line["outcome"]) for line in reversed(lines)]


@pytest.fixture
def stub(service: RunningService) -> Iterator[BalanceServiceStub]:
    with grpc.insecure_channel(service.grpc) as channel:
        yield BalanceServiceStub(channel)


def buy_in(stub: BalanceServiceStub, account_id: str, table_id: str, amount: int) -> None:
    reserve = pb.ReserveForBuyInRequest(
        account_id=account_id, table_id=table_id, amount=amount, idempotency_key="seat"
    )
    reservation_id = stub.ReserveForBuyIn(reserve).reservation_id
    assert stub.CommitReservation(pb.CommitReservationRequest(reservation_id=reservation_id)).ok


def bet(stub: BalanceServiceStub, account_id: str, table_id: str, amount: int) -> None:
    contribution = pb.RecordContributionRequest(
        table_id=table_id,
        hand_id="h1",
        seat_id=1,
        account_id=account_id,
        amount=amount,
        contribution_type="BET",
        idempotency_key="bet",
    )
    assert stub.RecordContribution(contribution).ok


def test_a_paused_service_refuses_commands_and_answers_reads(
    service: RunningService, stub: BalanceServiceStub
) -> None:
    """On every front end within about a second; ops go on, and it is told where people look."""
    account_id = opened(service, 10)
    dry = told(service, "pause", "--reason", "maintenance", "--dry-run")
    assert (dry["changed"], ask(service, "/api/health").body["paused"]) == (True, False)
    try:
        assert told(service, "pause", "--reason", "maintenance")["changed"]
        eventually(lambda: ask(service, "/api/health").body["paused"])
        refused = eventually(
            lambda: answer if (answer := deposit(service, account_id)).status == 503 else None
        )
        assert (code_of(refused), refused.headers["retry-after"]) == ("UNAVAILABLE", "1")
        request = pb.DepositRequest(account_id=account_id, amount=1, idempotency_key=uuid4().hex)
        with pytest.raises(grpc.RpcError) as failed:
            eventually(lambda: stub.Deposit(request) and None)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert failed.value.details() == "the service is paused; nothing was done"
        assert stub.GetBalance(pb.GetBalanceRequest(account_id=account_id)).balance >= 10
        assert ask(service, "/api/ready").status == 200
        frozen = post(service, f"/api/ops/accounts/{account_id}/freeze", {"reason": "r"})
        assert (frozen.status, frozen.body["outcome"]) == (200, "OK")
        assert not told(service, "pause", "--reason", "again")["changed"]
        assert "paused" in balance(service, "status").stdout
    finally:
        post(service, "/api/ops/resume", {"reason": "done"})
    post(service, f"/api/ops/accounts/{account_id}/unfreeze", {"reason": "r"})
    eventually(lambda: deposit(service, account_id).status == 200)
    with BalanceClient(service.grpc) as client:
        eventually(lambda: client.get_balance(account_id).balance >= 15)
    assert ("resume", "done", "DONE") in last_lines(service, 4)


def test_an_account_is_frozen_and_thawed(service: RunningService) -> None:
    """It refuses commands meanwhile; a dry run changes nothing, and every deed has its two lines."""
    account_id = opened(service, 10)
    assert told(service, "account", "freeze", account_id, "--reason", "odd", "--dry-run")["dryRun"]
    assert deposit(service, account_id).status == 200
    assert told(service, "account", "freeze", account_id, "--reason", "odd")["outcome"] == "OK"
    assert code_of(deposit(service, account_id)) == "ACCOUNT_FROZEN"
    frozen = told(service, "account", "list", "--status", "FROZEN", "--limit", "200")["accounts"]
    assert account_id in {each["accountId"] for each in frozen}
    assert told(service, "account", "unfreeze", account_id, "--reason", "fine")["outcome"] == "OK"
    assert deposit(service, account_id).status == 200
    assert last_lines(service, 4) == [
        ("account.freeze", "odd", "INTENDED"),
        ("account.freeze", "odd", "OK"),
        ("account.unfreeze", "fine", "INTENDED"),
        ("account.unfreeze", "fine", "OK"),
    ]
    nobody = balance(service, "account", "freeze", f"nobody-{uuid4().hex}", "--reason", "r")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "ACCOUNT_NOT_FOUND" in nobody.stderr


def test_a_wrong_deposit_is_corrected_once_by_a_transaction_that_names_it(service: RunningService) -> None:
    """Repeated, the same correction is the same transaction; what does not exist cannot be corrected."""
    account_id = opened(service)
    wrong = deposit(service, account_id, 500).body["transactionId"]
    adjust = ("adjust", account_id, "-450", "--corrects", wrong, "--reason", "typed one 0 too many")
    assert told(service, *adjust, "--dry-run")["balance"] == 50
    assert balance_of(service, account_id) == 500
    first, second = told(service, *adjust), told(service, *adjust)
    assert first["transactionId"] == second["transactionId"]
    assert balance_of(service, account_id) == 50
    path = f"/api/accounts/{account_id}/transactions/{first['transactionId']}"
    shown = ask(service, path, service.token).body
    assert (shown["type"], shown["amount"]) == ("WITHDRAW", 450)
    assert shown["metadata"] == {
        "corrects": wrong,
        "reason": "typed one 0 too many",
        "source": "ADJUSTMENT",
    }
    too_much = balance(service, "adjust", account_id, "-51", "--corrects", wrong, "--reason", "r")
    assert too_much.returncode == 1
    assert "INSUFFICIENT_BALANCE" in too_much.stderr
    unknown = ("adjust", account_id, "5", "--corrects", "000-" + "a" * 26, "--reason", "r")
    assert balance(service, *unknown).returncode == 1
    assert told(service, "adjust", account_id, "5", "--corrects", wrong, "--reason", "r")["outcome"] == "OK"


def test_a_table_is_closed_and_everybody_has_their_chips(
    service: RunningService, stub: BalanceServiceStub
) -> None:
    """
    Given two players on a table, one of them with chips in an open pot
    If it is closed, and closed again
    Expect the pot cancelled, all in play cashed out once, and nothing left to do.
    """
    table_id, players = f"t-{uuid4().hex}", [opened(service, 100), opened(service, 100)]
    for account_id in players:
        buy_in(stub, account_id, table_id, 60)
    bet(stub, players[0], table_id, 25)
    dry = told(service, "table", "close", table_id, "--reason", "fire alarm", "--dry-run")
    assert {(each["what"], each["amount"]) for each in dry["steps"]} == {
        ("pot.cancel", 25),
        ("table.cash-out", 35),
        ("table.cash-out", 60),
    }
    assert [balance_of(service, each) for each in players] == [40, 40]
    closed = told(service, "table", "close", table_id, "--reason", "fire alarm")
    assert [(each["what"], each["outcome"]) for each in closed["steps"]] == [
        ("pot.cancel", "OK"),
        ("table.cash-out", "OK"),
        ("table.cash-out", "OK"),
    ]
    assert {each["amount"] for each in closed["steps"]} == {25, 60}
    assert [balance_of(service, each) for each in players] == [100, 100]
    assert told(service, "table", "close", table_id, "--reason", "fire alarm")["steps"] == []
    assert told(service, "table", "show", table_id)["totalInPlay"] == 0
    refused = balance(service, "pot", "cancel", table_id, "h9", "--reason", "r")
    assert refused.returncode == 1
    assert "POT_NOT_FOUND" in refused.stderr
    assert told(service, "pot", "cancel", table_id, "h1", "--reason", "again")["outcome"] == "OK"


def test_ops_see_how_the_service_is(service: RunningService) -> None:
    """For people and as JSON; the log's chain holds."""
    account_id = opened(service, 10)
    found = told(service, "status")
    assert sum(each["partitions"] for each in found["workers"]) == found["partitions"] == 64
    assert (found["unowned"], found["stops"], found["supply"]["difference"]) == ([], [], 0)
    assert found["leader"]["name"]
    assert len(found["frontEnds"]) == 2, "one speaks gRPC, the other HTTP"
    text = balance(service, "status").stdout
    assert "dead letters" in text
    assert "difference" in text
    pages: list[str] = []
    after = ""
    while not pages or after:
        page = told(service, "account", "list", "--limit", "200", *(["--after", after] if after else []))
        pages += [each["accountId"] for each in page["accounts"]]
        after = page["next"]
    assert pages.count(account_id) == 1
    assert len(set(pages)) == len(pages)
    house = told(service, "house", "show")
    assert house["total"] == sum(each["balance"] for each in house["accounts"])
    post(service, "/api/ops/stops/clear", {"reason": "nothing there"})
    assert told(service, "ops", "log", "--verify")["ok"]
    assert "WHAT" in balance(service, "ops", "log").stdout


@pytest.mark.parametrize(
    "text",
    ["a\n999  2026-01-31T12:00:00.000Z  olga  pause  DONE", "\x1b[2K", "\ud83d"],
    ids=["a row of its own", "an escape", "a lone surrogate"],
)
def test_what_cannot_be_printed_does_not_reach_the_ops_log(service: RunningService, text: str) -> None:
    """It would forge a row there. It is refused before anything is done, in a list of ids as in a reason."""
    account_id = opened(service, 1)
    logged = ask(service, "/api/ops/log?limit=1", service.token).body["lines"]
    for path, body in (
        (f"accounts/{account_id}/freeze", {"reason": text}),
        ("dead-letters/resolve", {"reason": "r", "ids": ["007-i-1-0-0", text]}),
        ("dead-letters/replay", {"reason": "r", "ids": [text]}),
    ):
        answer = post(service, f"/api/ops/{path}", body, key=None)
        assert (answer.status, code_of(answer)) == (400, "INVALID_REQUEST")
    assert ask(service, "/api/ops/log?limit=1", service.token).body["lines"] == logged
    assert deposit(service, account_id).status == 200


def test_ops_get_a_token_and_point_their_commands_at_a_front_end(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its HTTP address: one front end may be for ops alone. What they do has the name that they took."""
    monkeypatch.setenv("JWT_HS256_SECRET", settings_of(service).jwt_hs256_secret or "")
    token = balance(service, "token", "olga", "--scope", "balance:ops").stdout.strip()
    monkeypatch.delenv("JWT_HS256_SECRET")
    monkeypatch.setenv("BALANCE_TOKEN", token)
    account_id = opened(service, 1)
    at_front_end = ("--reason", "r", "--target", service.http)
    assert balance(service, "account", "freeze", account_id, *at_front_end).returncode == 0
    (line,) = ask(service, "/api/ops/log?limit=1", service.token).body["lines"]
    assert (line["who"], line["what"]) == ("olga", "account.freeze")
    nobody = balance(service, "status", "--target", "127.0.0.1:1")
    assert nobody.returncode == 2
    assert "127.0.0.1:1 does not answer" in nobody.stderr


def test_without_the_secret_no_token_is_signed(service: RunningService) -> None:
    refused = balance(service, "token", "olga")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "JWT_HS256_SECRET" in refused.stderr
