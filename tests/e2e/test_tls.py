"""TLS as operators set it up: the whole service with certificates, its commands, and who is let in."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import grpc
import pytest

from app.cli.target import HttpConnection
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.rpc.tls import channel
from app.services.tls import ClientTls
from tests.e2e.test_front_end_processes import front_end
from tests.support.certificates import Authority, Certificate, served_with, shown
from tests.support.ports import free_port
from tests.support.service import RunningService, balance, running_service

NAME = "balance.test"
REPORTS = "spiffe://tests/reports"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def poker(authority: Authority) -> Certificate:
    """Whoever has this may call everything."""
    return authority.client("poker.test")


@pytest.fixture(scope="module")
def secured(authority: Authority, poker: Certificate) -> Iterator[RunningService]:
    """The whole service with TLS on both ports, and certificates wanted from those who call gRPC.

    Its own certificate names the service, not the loopback address that its probes connect to.
    """
    environ = {
        "TLS_SERVER_NAME": NAME,
        "TLS_CLIENT_CA_FILE": str(authority.cert),
        "TLS_CLIENT_METHODS": f"poker.test=* {REPORTS}=GetBalance",
    }
    environ |= served_with(authority.server(NAME)) | shown(poker)
    with running_service(**environ) as running:
        yield running


def trusting(authority: Authority, client: Certificate | None = None) -> ClientTls:
    """What a caller with this certificate brings."""
    cert, key = (str(client.cert), str(client.key)) if client else (None, None)
    return ClientTls(ca_file=str(authority.cert), server_name=NAME, cert_file=cert, key_file=key)


def status(service: RunningService, tls: ClientTls | None, method: str = "GetBalance") -> str:
    """How a call with this certificate ends."""
    requests = {"GetBalance": pb.GetBalanceRequest, "Deposit": pb.DepositRequest}
    request = requests[method](account_id="a")
    with channel(service.grpc, tls) as opened:
        code: grpc.StatusCode = getattr(BalanceServiceStub(opened), method).future(request, timeout=10).code()
    return code.name


def test_a_certificate_of_our_authority_is_let_in(
    secured: RunningService, authority: Authority, poker: Certificate, tmp_path: Path
) -> None:
    """One of another authority, one that has expired, none, and a caller without TLS are not."""
    other = Authority(tmp_path, "other")
    expired = authority.client("late.poker.test", expired=True)
    assert {
        "ours": status(secured, trusting(authority, poker)),
        "another's": status(secured, trusting(authority, other.client("poker.test"))),
        "expired": status(secured, trusting(authority, expired)),
        "none": status(secured, trusting(authority)),
        "no TLS": status(secured, None),
    } == {
        "ours": "OK",
        "another's": "UNAVAILABLE",
        "expired": "UNAVAILABLE",
        "none": "UNAVAILABLE",
        "no TLS": "UNAVAILABLE",
    }


def test_its_name_says_what_it_may_call(secured: RunningService, authority: Authority) -> None:
    """By the table, and nothing without a row: every certificate here has the common name `poker`."""
    reports, stranger = authority.client("r.test", REPORTS), authority.client("stranger.test")
    assert status(secured, trusting(authority, reports), "GetBalance") == "OK"
    assert status(secured, trusting(authority, reports), "Deposit") == "PERMISSION_DENIED"
    assert status(secured, trusting(authority, stranger), "GetBalance") == "PERMISSION_DENIED"


def test_a_caller_checks_the_service_too(
    secured: RunningService, authority: Authority, poker: Certificate, tmp_path: Path
) -> None:
    """Whoever trusts another authority, or expects another name, does not talk to it, by gRPC or HTTP."""
    other = Authority(tmp_path, "other")
    right = trusting(authority, poker)
    for tls in (
        replace(right, ca_file=str(other.cert)),
        replace(right, server_name="other.test"),
        replace(right, server_name=None),
    ):
        assert status(secured, tls) == "UNAVAILABLE"
        with pytest.raises(ssl.SSLCertVerificationError):
            HttpConnection(secured.http, tls, 10).request("GET", "/api/health")


def ask_in_the_clear(at: str) -> None:
    connection = HTTPConnection(at, timeout=2)  # also where nobody answers, and nobody says so
    try:
        connection.request("GET", "/api/health")
        connection.getresponse()
    finally:
        connection.close()


def test_http_is_served_with_tls_alone(secured: RunningService, authority: Authority) -> None:
    """A request in the clear gets no answer."""
    connection = HttpConnection(secured.http, trusting(authority), 10)
    connection.request("GET", "/api/ready")
    assert connection.getresponse().read() == b'{"ready":true}'
    connection.close()
    with pytest.raises((OSError, HTTPException)):
        ask_in_the_clear(secured.http)


def test_commands_find_their_way(secured: RunningService, authority: Authority, poker: Certificate) -> None:
    """Beside `balance up` by what it wrote down; from elsewhere by an authority and a certificate."""
    assert (
        balance(secured, "call", "Deposit", "account_id=tls", "amount=5", "idempotency_key=k").returncode == 0
    )
    played = balance(secured, "simulate", "--players", "2", "--seconds", "0.1", "--json")
    assert json.loads(played.stdout)["errors"] == 0, played.stderr
    environ = {
        "TLS_CA_FILE": str(authority.cert),
        "TLS_SERVER_NAME": NAME,
        "HTTP_PORT": secured.http.rpartition(":")[2],
    }
    for arguments, wanted in (
        (("call", "GetBalance", "account_id=tls", "--target", secured.grpc), '"balance": 5'),
        (("account", "show", "tls", "--json", "--target", secured.grpc), '"balance": 5'),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=os.environ | environ | shown(poker) | {"BALANCE_TOKEN": secured.token},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert wanted in result.stdout, result.stderr


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_key_that_does_not_fit_is_refused(
    service: RunningService, authority: Authority, poker: Certificate, kind: str
) -> None:
    """With the exit code that tells a supervisor not to try again."""
    environ = served_with(authority.server()) | {"TLS_KEY_FILE": str(poker.key)}
    with front_end(kind, service, **environ) as process:
        errors, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "TLS_CERT_FILE, TLS_KEY_FILE: " in errors


def test_a_key_that_breaks_later_ends_http_rather_than_its_secrecy(
    service: RunningService, tmp_path: Path
) -> None:
    """gunicorn itself would go on in the clear, with an error in the log."""
    server = Authority(tmp_path).server()
    port = free_port()
    with front_end("http", service, HTTP_PORT=port, **served_with(server)) as process:
        assert process.stdout
        assert any("ASGI server listening on https" in line for line in process.stdout)
        server.key.write_text("broken")
        process.send_signal(signal.SIGHUP)
        assert any("cannot be used" in line for line in process.stdout)
        with pytest.raises((OSError, HTTPException)):
            ask_in_the_clear(f"127.0.0.1:{port}")
