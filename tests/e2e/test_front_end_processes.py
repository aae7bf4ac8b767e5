"""Front ends as processes: how they start, refuse to start, and stop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from uuid import uuid4

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from app.config import Settings
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.rpc.health import is_serving
from app.services.tokens import mint
from tests.support.ports import free_port
from tests.support.service import RunningService

HASTY = "--worker-class=tests.support.hasty_worker.HastyWorker"


@contextmanager
def front_end(kind: str, service: RunningService, **environ: str) -> "Iterator[subprocess.Popen[str]]":
    """One more front end of the running service."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", kind],
        env=os.environ | {"REDIS_URL": service.redis_url} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_grpc_process_serves_until_it_is_told_to_stop(service: RunningService) -> None:
    """Several may serve the same accounts."""
    port = free_port()
    request = pb.GetBalanceRequest(account_id="a")
    with (
        front_end("grpc", service, GRPC_PORT=port) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        get_balance = BalanceServiceStub(channel).GetBalance
        assert get_balance(request, timeout=20, wait_for_ready=True).currency == "CHIPS"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_where_tokens_are_required_every_call_needs_one(service: RunningService) -> None:
    """But health and reflection, which are for machines that have none."""
    port = free_port()
    settings = Settings(jwt_hs256_secret="a secret of at least thirty-two bytes", grpc_auth="required")
    environ = {"GRPC_AUTH": "required", "JWT_HS256_SECRET": str(settings.jwt_hs256_secret)}
    request = pb.GetBalanceRequest(account_id="a")
    with (
        front_end("grpc", service, GRPC_PORT=port, **environ),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        get_balance = BalanceServiceStub(channel).GetBalance
        for scopes, status in (
            ((), "PERMISSION_DENIED"),
            (["balance:service"], "OK"),
            (None, "UNAUTHENTICATED"),
        ):
            token = [] if scopes is None else [("authorization", f"Bearer {mint(settings, 'me', scopes)}")]
            call = get_balance.future(request, timeout=20, wait_for_ready=True, metadata=tuple(token))
            assert call.code().name == status
        assert asyncio.run(is_serving(f"127.0.0.1:{port}"))
        assert ProtoReflectionDescriptorDatabase(channel).get_services()


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_without_any_key_it_says_that_it_is_for_this_machine_only(service: RunningService, kind: str) -> None:
    """Whoever wonders why others cannot reach it finds the reason in the log."""
    with front_end(kind, service, HTTP_PORT=free_port(), GRPC_PORT=free_port()) as process:
        assert process.stdout
        wanted = "no key to check tokens with is set: listening on 127.0.0.1 only"
        assert any(wanted in line for line in process.stdout)
    with front_end(kind, service, BIND_HOST="0.0.0.0") as process:  # noqa: S104
        errors, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "BIND_HOST, JWT_HS256_SECRET: 0.0.0.0 is open to other machines" in errors


def test_a_second_server_on_one_port_is_an_error(service: RunningService) -> None:
    """gRPC would let both listen, and each answer some of the calls."""
    port = service.grpc.rpartition(":")[2]
    with front_end("grpc", service, GRPC_PORT=port) as process:
        errors, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"GRPC_PORT {port} of 127.0.0.1 cannot be listened on" in errors


def test_several_processes_share_a_port_on_purpose(service: RunningService) -> None:
    """GRPC_PROCESSES says so."""
    environ = {"GRPC_PORT": free_port(), "GRPC_PROCESSES": "2"}
    with front_end("grpc", service, **environ) as one, front_end("grpc", service, **environ) as other:
        for process in (one, other):
            assert process.stdout
            assert any("gRPC on" in line for line in process.stdout)


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        ("grpc", "PARTITIONS", "none"),
        ("http", "PARTITIONS", "none"),
        ("http", "JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    service: RunningService, kind: str, variable: str, value: str
) -> None:
    """With the exit code that tells a supervisor not to try again, and the variable's name."""
    with front_end(kind, service, **{variable: value}) as process:
        errors, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert variable in errors


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_store_laid_out_otherwise_is_refused(service: RunningService, kind: str) -> None:
    """Working on it would put accounts where nobody looks for them."""
    with front_end(kind, service, PARTITIONS="3") as process:
        errors, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "partitions" in errors.lower()


def test_an_http_process_stops_although_a_client_keeps_its_connection(service: RunningService) -> None:
    """It closes what it holds before it ends, within the patience of gunicorn."""
    port = free_port()
    with front_end("http", service, HTTP_PORT=port) as process:
        assert process.stdout
        assert any("ASGI server listening" in line for line in process.stdout)
        connection = HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("GET", "/api/ready")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"ready":true}')
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        connection.close()
        assert "WORKER TIMEOUT" not in process.stdout.read()


def test_who_connects_and_asks_nothing_is_let_go(service: RunningService) -> None:
    """
    Given a request of which the head has come, and not yet the body
    If others send nothing, or half a head
    Expect their connections to be closed, and the request to be answered when it is whole.
    """
    account_id, port = f"p-{uuid4().hex}", free_port()
    settings = Settings(jwt_hs256_secret="a secret of at least thirty-two bytes")
    environ = {"HTTP_PORT": port, "JWT_HS256_SECRET": str(settings.jwt_hs256_secret)}
    request = (
        f"POST /api/accounts/{account_id} HTTP/1.1\r\nHost: balance\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {mint(settings, account_id)}\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()
    with front_end("http", service, GUNICORN_CMD_ARGS=HASTY, **environ) as process, ExitStack() as opened:
        assert process.stdout
        assert any("ASGI server listening" in line for line in process.stdout)

        def send(part: bytes) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
            opened.enter_context(connection).sendall(part)
            return connection

        slow, silent, half = send(request[:-1]), send(b""), send(request[:60])
        assert (silent.recv(1), half.recv(1)) == (b"", b"")
        slow.sendall(request[-1:])
        assert slow.recv(12) == b"HTTP/1.1 201"
