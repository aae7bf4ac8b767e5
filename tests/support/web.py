"""Calls over HTTP as gateways and players make them, and what they get."""

import json
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from app.config import Settings
from tests.support.service import RunningService

JSON = ("Content-Type", "application/json")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def settings_of(service: RunningService) -> Settings:
    """With the secret that the service checks tokens by."""
    return Settings(jwt_hs256_secret=(Path(service.data_dir) / "dev-secret").read_text())


def ask(
    service: RunningService,
    path: str,
    token: str | None = None,
    method: str = "GET",
    *,
    raw: bytes | Iterable[bytes] | None = None,
    headers: Iterable[tuple[str, str | bytes]] = (),
) -> Answer:
    """One request, its headers just as they are given; an iterable as body is sent in chunks.

    Any JSON answer is decoded.
    """
    connection = HTTPConnection(service.http, timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if token is not None:
            connection.putheader("Authorization", f"Bearer {token}")
        if isinstance(raw, bytes):
            connection.putheader("Content-Length", str(len(raw)))
            connection.endheaders(raw)
        elif raw is not None:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(raw, encode_chunked=True)
        else:
            connection.endheaders()
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    received = {name.lower(): value for name, value in answer.getheaders()}
    is_json = received.get("content-type", "").startswith("application/json") and text
    return Answer(answer.status, received, json.loads(text) if is_json else text)


def post(
    service: RunningService, path: str, body: object, *, token: str | None = None, key: str | None = ""
) -> Answer:
    """One JSON request by the development token; "" stands for a key of its own, None for no key."""
    keys = [] if key is None else [("Idempotency-Key", key or uuid4().hex)]
    return ask(
        service,
        path,
        token or service.token,
        "POST",
        raw=json.dumps(body).encode(),
        headers=[JSON, *keys],
    )


def opened(service: RunningService, chips: int = 0) -> str:
    """The id of a new account with so many chips."""
    account_id = f"p-{uuid4().hex}"
    answer = post(service, f"/api/accounts/{account_id}", {"initialBalance": chips}, key=None)
    assert answer.status == 201, answer
    return account_id


def balance_of(service: RunningService, account_id: str) -> int:
    """The chips that the account has now."""
    balance: int = ask(service, f"/api/accounts/{account_id}/balance", service.token).body["balance"]
    return balance


def code_of(answer: Answer) -> str:
    """The machine code of an error, which has the one shape."""
    assert set(answer.body) == {"error", "message", "requestId"}, answer
    assert answer.body["message"]
    assert answer.body["requestId"] == answer.headers["x-request-id"]
    code: str = answer.body["error"]
    return code
