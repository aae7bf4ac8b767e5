"""HTTP as gateways and players meet it: the whole service in processes of its own."""

import json
import time
from collections.abc import Callable
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import falcon.inspect
import jwt
import pytest

from app.config import Settings
from app.http.api import create_app
from app.services.submission import FrontEnd
from app.services.tokens import mint
from tests.support.service import RunningService, balance


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


@pytest.fixture(scope="module")
def alice(service: RunningService) -> str:
    """An account with 1000 chips."""
    account_id = f"alice-{uuid4().hex}"
    opened = balance(service, "call", "EnsureAccount", f"account_id={account_id}", "initial_balance=1000")
    assert opened.returncode == 0, opened.stderr
    return account_id


@pytest.fixture(scope="module")
def settings(service: RunningService) -> Settings:
    """With the secret that the service checks tokens by."""
    return Settings(jwt_hs256_secret=(Path(service.data_dir) / "dev-secret").read_text())


def ask(
    service: RunningService, path: str, token: str | None = None, method: str = "GET", **headers: str
) -> Answer:
    """One request; the names of headers have dashes on the wire, and any JSON answer is decoded."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    connection = HTTPConnection(service.http, timeout=10)
    try:
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    received = {name.lower(): value for name, value in answer.getheaders()}
    is_json = received.get("content-type") == "application/json" and text
    return Answer(answer.status, received, json.loads(text) if is_json else text)


def code_of(answer: Answer) -> str:
    """The machine code of an error, which has the one shape."""
    assert set(answer.body) == {"error", "message", "requestId"}
    assert answer.body["message"]
    assert answer.body["requestId"] == answer.headers["x-request-id"]
    code: str = answer.body["error"]
    return code


def test_health_and_readiness_need_no_token(service: RunningService) -> None:
    """They are for machines."""
    health = ask(service, "/api/health")
    assert (health.status, health.body["status"], health.body["redis"]) == (200, "healthy", True)
    assert health.body["timestamp"].endswith("Z")
    ready = ask(service, "/api/ready")
    assert (ready.status, ready.body) == (200, {"ready": True})


def test_a_balance_is_shown_to_its_player(service: RunningService, settings: Settings, alice: str) -> None:
    """In camel case, with what is held taken off."""
    held = balance(
        service, "call", "ReserveForBuyIn", f"account_id={alice}", "table_id=t", "amount=300",
        "idempotency_key=k", "timeout_seconds=600",
    )  # fmt: skip
    assert held.returncode == 0, held.stderr
    shown = ask(service, f"/api/accounts/{alice}/balance", mint(settings, alice))
    assert shown.status == 200
    assert shown.body == {
        "accountId": alice,
        "balance": 1000,
        "availableBalance": 700,
        "currency": "CHIPS",
        "version": 0,
    }


CALLERS: dict[str, Callable[[Settings, str], str | None]] = {
    "nobody": lambda _settings, _owner: None,
    "owner": mint,
    "other": lambda settings, _owner: mint(settings, "somebody-else"),
    "service": lambda settings, _owner: mint(settings, "poker", ["balance:service"]),
    "ops": lambda settings, _owner: mint(settings, "olga", ["balance:ops"]),
}
ANYONE = dict.fromkeys(CALLERS, 200)
ACCESS: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/api/health"): ANYONE,
    ("GET", "/api/ready"): ANYONE,
    ("GET", "/api/accounts/{account_id}/balance"): {
        "nobody": 401,
        "owner": 200,
        "other": 403,
        "service": 200,
        "ops": 403,
    },
}


def test_every_route_says_who_may_call_it() -> None:
    """A new route or method without a row in the table above fails here."""

    async def never() -> FrontEnd:
        raise AssertionError("the app is only looked at")

    routes = falcon.inspect.inspect_routes(create_app(Settings(), never))
    found = {
        (method.method, route.path) for route in routes for method in route.methods if not method.internal
    }
    assert found == set(ACCESS)


@pytest.mark.parametrize(("route", "caller"), list(product(ACCESS, CALLERS)))
def test_each_caller_may_call_exactly_this(
    service: RunningService, settings: Settings, alice: str, route: tuple[str, str], caller: str
) -> None:
    """Players their own, services any account, ops no account for being ops."""
    method, path = route
    token = CALLERS[caller](settings, alice)
    answer = ask(service, path.replace("{account_id}", alice), token, method)
    assert answer.status == ACCESS[route][caller]
    if answer.status >= 400:
        assert code_of(answer) == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[answer.status]
        assert (answer.headers.get("www-authenticate") == "Bearer") == (answer.status == 401)


def expired(secret: str) -> str:
    now = int(time.time())
    return jwt.encode({"sub": "a", "iat": now - 60, "exp": now - 30}, secret, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [
        lambda _secret: "",
        lambda _secret: "nonsense",
        lambda _secret: "x" * 9000,
        lambda _secret: jwt.encode({"sub": "a"}, "", algorithm="none"),
        lambda secret: jwt.encode({"sub": "a", "iat": 1}, secret, algorithm="HS256"),
        expired,
    ],
    ids=["empty", "nonsense", "too long", "alg none", "without end", "expired"],
)
def test_a_bad_token_is_none(
    service: RunningService, settings: Settings, token: Callable[[str], str]
) -> None:
    """The rest of the ways in which tokens are bad is tested where they are checked."""
    assert settings.jwt_hs256_secret
    answer = ask(service, "/api/accounts/a/balance", token(settings.jwt_hs256_secret))
    assert (answer.status, code_of(answer)) == (401, "UNAUTHORIZED")


def test_an_account_nobody_opened_is_not_found(service: RunningService) -> None:
    """Unlike in gRPC, where it shows zeros."""
    answer = ask(service, f"/api/accounts/{uuid4().hex}/balance", service.token)
    assert (answer.status, code_of(answer)) == (404, "ACCOUNT_NOT_FOUND")


@pytest.mark.parametrize(
    "account_id",
    ["", "a%2Fb", "a%2fb", "a%20b", "a%00b", "a%0Ab", "%C3%A9", "%ff", "$house-000", "x" * 129],
)
def test_an_invalid_account_id_is_named(service: RunningService, account_id: str) -> None:
    """As the caller knows it."""
    answer = ask(service, f"/api/accounts/{account_id}/balance", service.token)
    assert (answer.status, code_of(answer)) == (400, "INVALID_ACCOUNT_ID")
    assert answer.body["message"].startswith("accountId ")


@pytest.mark.parametrize("path", ["/", "/api", "/api/nothing", "/api/accounts/a/balance/", "/api/accounts/a"])
def test_an_unknown_path_is_not_found(service: RunningService, path: str) -> None:
    """In the shape of every error."""
    answer = ask(service, path)
    assert (answer.status, code_of(answer)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_told_the_right_ones(service: RunningService, method: str) -> None:
    """It needs no token for that."""
    answer = ask(service, "/api/accounts/a/balance", method=method)
    assert (answer.status, code_of(answer)) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in answer.headers["allow"]


def test_a_callers_request_id_comes_back(service: RunningService) -> None:
    """Unless it is not fit for a header or a log."""
    assert ask(service, "/api/health", X_Request_Id="req-1").headers["x-request-id"] == "req-1"
    assert ask(service, "/nothing", X_Request_Id="req-1").body["requestId"] == "req-1"
    replaced = ask(service, "/api/health", X_Request_Id="two words").headers["x-request-id"]
    assert replaced != "two words"


def test_a_header_beyond_all_measure_is_refused(service: RunningService) -> None:
    """By the server itself, before the application sees it."""
    assert ask(service, "/api/health", Authorization="x" * 40_000).status == 431
