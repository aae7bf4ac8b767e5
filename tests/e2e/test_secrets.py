"""No token, key, secret or body shows: canaries go through the real processes; what they left is searched."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from app.cli.target import HttpConnection
from app.config import Settings
from app.domain.identifiers import partition_of
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.rpc.tls import channel
from app.services.tls import ClientTls
from app.services.tokens import mint
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.certificates import Authority, served_with
from tests.support.service import RunningService, running_service

SECRETS = {
    "JWT_HS256_SECRET": "canary-secret-canary-secret-canary-secret",
    "JWT_HS256_SECRET_PREVIOUS": "canary-previous-canary-previous-canary",
}
BODY = "canary-body"
BAD_TOKENS = ("canary-nonsense", "canary.token.shape", "canary-" + "x" * 9000)
ACCOUNT, BROKEN = "someone", "broken"
SERVICE = ["balance:service"]


@dataclass(frozen=True)
class Left:
    """What a run of the service left behind for others to read."""

    logs: str
    answers: str
    arguments: str
    dead_letters: str
    secret: tuple[str, ...]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """A service with all its secrets set, at its most talkative, that is asked well and badly."""
    folder = tmp_path_factory.mktemp("canaries")
    authority = Authority(folder)
    server = authority.server()
    environ = SECRETS | served_with(server) | {"GRPC_AUTH": "required", "LOG_LEVEL": "debug"}
    settings = Settings(jwt_hs256_secret=SECRETS["JWT_HS256_SECRET"])
    tokens = [mint(settings, "poker", SERVICE), mint(settings, "player")]
    log, ps = folder / "log", str(shutil.which("ps"))
    with log.open("w") as stderr, running_service(stderr, **environ) as running:
        break_account(running, tokens[0])
        answers = [*asked_by_grpc(running, tokens), *asked_by_http(running, tokens)]
        arguments = subprocess.run([ps, "-A", "-o", "args"], capture_output=True, text=True, check=True)
        dead_letters = parked(running)
    signatures = [token.rpartition(".")[2] for token in tokens]
    lines_of_key = server.key.read_text().splitlines()[1:-1]
    return Left(
        log.read_text(),
        "\n".join(answers),
        arguments.stdout,
        dead_letters,
        (*SECRETS.values(), *signatures, *lines_of_key, *BAD_TOKENS),
    )


def tls_of(running: RunningService) -> ClientTls:
    return ClientTls(**json.loads((Path(running.data_dir) / "run.json").read_text())["tls"])


def deposit(running: RunningService, account_id: str, token: str) -> Iterator[str]:
    """Deposit with this token, and yield all that comes back."""
    request = pb.DepositRequest(account_id=account_id, amount=5, source=BODY, idempotency_key=f"{BODY}-key")
    with channel(running.grpc, tls_of(running)) as opened:
        metadata = (("authorization", f"Bearer {token}"), ("x-request-id", f"canary request {token}"))
        try:
            yield str(BalanceServiceStub(opened).Deposit(request, metadata=metadata, timeout=20))
        except grpc.RpcError as error:
            yield f"{error} {error.trailing_metadata()}"


def break_account(running: RunningService, token: str) -> None:
    """Make the account one on which every command is a fault of ours."""
    list(deposit(running, BROKEN, token))
    backend = ValkeyBackend(running.redis_url)
    account = keys.account(partition_of(BROKEN, Settings().partitions), BROKEN)
    backend.call("HSET", account, "balance", "not a number")
    backend.close()


def asked_by_grpc(running: RunningService, tokens: list[str]) -> Iterator[str]:
    for token in (*tokens, *BAD_TOKENS):
        yield from deposit(running, ACCOUNT, token)
    yield from deposit(running, BROKEN, tokens[0])
    with channel(running.grpc, tls_of(running)) as opened:
        method: Any = opened.unary_unary("/balance.BalanceService/Deposit")
        metadata = (("authorization", f"Bearer {tokens[0]}"),)
        yield str(method.future(b"\xff" + BODY.encode(), metadata=metadata, timeout=20).exception())


def asked_by_http(running: RunningService, tokens: list[str]) -> Iterator[str]:
    bodies = (json.dumps({"amount": 5, "source": BODY}), f"{{{BODY}", BODY * 2000)
    for token in (*tokens, *BAD_TOKENS):
        for account_id in (ACCOUNT, BROKEN):
            yield from ask(running, "GET", f"/api/accounts/{account_id}/balance", token)
            for body in bodies:
                yield from ask(running, "POST", f"/api/accounts/{account_id}/deposit", token, body)


def ask(running: RunningService, method: str, path: str, token: str, body: str = "") -> Iterator[str]:
    connection = HttpConnection(running.http, tls_of(running), 20)
    headers: Mapping[str, str] = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"{BODY}-key",
        "X-Request-Id": f"canary {token}",
    }
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        yield f"{answer.status} {answer.headers} {answer.read().decode()}"
    finally:
        connection.close()


def parked(running: RunningService) -> str:
    """All dead letters, as they are in the store."""
    backend = ValkeyBackend(running.redis_url)
    try:
        dead = keys.dead_letters(partition_of(BROKEN, Settings().partitions))
        return str(backend.call("HGETALL", dead))
    finally:
        backend.close()


def test_the_canaries_went_all_the_way(left: Left) -> None:
    """Else their absence below would prove nothing: there are a logged fault, a dead letter, refusals."""
    assert "a command is parked" in left.logs
    assert "DEAD_LETTERED" in left.answers
    assert BODY in left.dead_letters
    assert "UNAUTHENTICATED" in left.answers
    assert "UNAUTHORIZED" in left.answers
    assert "app.cli" in left.arguments


def test_no_token_key_or_secret_shows(left: Left) -> None:
    """Not in logs at their most talkative, nor in answers, arguments of processes, or dead letters."""
    for name in ("logs", "answers", "arguments", "dead_letters"):
        text = getattr(left, name)
        shown = [secret[:40] for secret in left.secret if secret in text]
        assert not shown, f"{name} show {shown}"


def test_no_body_shows_in_logs(left: Left) -> None:
    """Dead letters alone keep the command: ops replay it."""
    assert BODY not in left.logs
    assert BODY not in left.arguments


def test_a_refusal_of_settings_shows_no_secret(tmp_path: Path) -> None:
    """Each secret set wrongly, so that each is complained about."""
    (tmp_path / "secret").write_bytes(b"canary\xff")
    environ = {
        "JWT_HS256_SECRET_FILE": str(tmp_path / "secret"),
        "JWT_HS256_SECRET_PREVIOUS": "canary",
        "JWT_PUBLIC_KEY": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
        "JWKS_URL": "https://user:canary@keys.example/jwks",
        "REDIS_URL": "redis://:canary@store:notaport",
    }
    result = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", "--ephemeral"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    for name in ("JWT_HS256_SECRET", "JWT_HS256_SECRET_PREVIOUS", "JWT_PUBLIC_KEY", "JWKS_URL", "REDIS_URL"):
        assert f"{name}: " in result.stderr
    assert "canary" not in result.stdout + result.stderr
