"""HTTP as gateways and players meet it: health, balances, ids of requests, answers to nonsense."""

from uuid import uuid4

import pytest

from app.services.tokens import mint
from tests.support.service import RunningService, balance
from tests.support.web import ask, code_of, opened, settings_of


def test_health_and_readiness_need_no_token(service: RunningService) -> None:
    """They are for machines."""
    health = ask(service, "/api/health")
    assert (health.status, health.body["status"], health.body["redis"]) == (200, "healthy", True)
    assert health.body["timestamp"].endswith("Z")
    ready = ask(service, "/api/ready")
    assert (ready.status, ready.body) == (200, {"ready": True})


def test_a_balance_is_shown_to_its_player(service: RunningService) -> None:
    """In camel case, with what is held taken off."""
    alice = opened(service, 1000)
    held = balance(
        service, "call", "ReserveForBuyIn", f"account_id={alice}", "table_id=t", "amount=300",
        "idempotency_key=k", "timeout_seconds=600",
    )  # fmt: skip
    assert held.returncode == 0, held.stderr
    shown = ask(service, f"/api/accounts/{alice}/balance", mint(settings_of(service), alice))
    assert shown.status == 200
    assert shown.body == {
        "accountId": alice,
        "balance": 1000,
        "availableBalance": 700,
        "currency": "CHIPS",
        "version": 0,
    }


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/nothing", "/api/accounts/a/balance/", "/api/accounts", "/api/transactions"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_not_found(service: RunningService, path: str, method: str) -> None:
    """In the shape of every error."""
    answer = ask(service, path, method=method)
    assert (answer.status, code_of(answer)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_told_the_right_ones(service: RunningService, method: str) -> None:
    """It needs no token for that."""
    answer = ask(service, "/api/accounts/a/balance", method=method)
    assert (answer.status, code_of(answer)) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in answer.headers["allow"]


def test_a_callers_request_id_comes_back(service: RunningService) -> None:
    """Unless it is not fit for a header or a log."""

    def asked(path: str, request_id: str) -> str:
        return ask(service, path, headers=[("X-Request-Id", request_id)]).headers["x-request-id"]

    assert asked("/api/health", "req-1") == "req-1"
    assert asked("/nothing", "req-1") == "req-1"
    assert asked("/api/health", "two words") != "two words"


def test_every_answer_has_an_id(service: RunningService) -> None:
    """One of its own, by which it is found again in the logs."""
    account_id = uuid4().hex
    paths = ["/api/health", f"/api/accounts/{account_id}/balance", "/nothing"]
    ids = [ask(service, path).headers["x-request-id"] for path in paths]
    assert len(set(ids)) == len(paths)


def test_a_header_beyond_all_measure_is_refused(service: RunningService) -> None:
    """By the server itself, before the application sees it."""
    assert ask(service, "/api/health", headers=[("Authorization", "x" * 40_000)]).status == 431
