"""The guard around every gRPC method: statuses for errors, ids for requests, tokens where they are wanted.

It stands before a service of the test's own, whose handlers fail in every way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest

from app.config import Settings
from app.domain.validation import Malformed
from app.rpc.gen import balance_pb2 as pb
from app.rpc.interceptors import CallGuard
from app.services.faults import Unavailable
from app.services.tokens import TokenVerifier, mint

SERVICE = "test.Echo"
SETTINGS = Settings(jwt_hs256_secret="a secret of at least thirty-two bytes")
ERRORS: dict[str, Exception] = {
    "malformed": Malformed("amount", "is wrong"),
    "away": Unavailable("canary"),
    "fault": ZeroDivisionError("canary"),
}


Behaviour = Callable[[pb.DepositRequest, object], Awaitable[pb.DepositRequest]]


class Seen(NamedTuple):
    """What a caller sees of a call."""

    status: grpc.StatusCode
    details: str
    trailing: dict[str, Any]
    answer: pb.DepositRequest | None = None


async def echo(request: pb.DepositRequest, _context: object) -> pb.DepositRequest:
    if request.account_id in ERRORS:
        raise ERRORS[request.account_id]
    return request


def unwritten(_request: object, _context: object) -> None:
    raise AssertionError("a generated stub is never run")


@asynccontextmanager
async def serving(
    verifier: TokenVerifier | None = None, behaviour: Behaviour = echo
) -> AsyncIterator[grpc.aio.Channel]:
    """A server of two services, of which the first is guarded, and a channel to it."""
    codec = pb.DepositRequest.FromString, pb.DepositRequest.SerializeToString
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(behaviour, *codec),
        "Unwritten": grpc.unary_unary_rpc_method_handler(unwritten, *codec),
    }
    server = grpc.aio.server(interceptors=[CallGuard(SERVICE, verifier)])
    for service in (SERVICE, "test.Other"):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


def call(
    account_id: str = "",
    *,
    raw: bytes | None = None,
    method: str = f"{SERVICE}/Echo",
    verifier: TokenVerifier | None = None,
    **metadata: str,
) -> Seen:
    """Call the method on a server of its own; the metadata's names have dashes on the wire."""
    request = pb.DepositRequest(account_id=account_id).SerializeToString() if raw is None else raw
    sent = tuple((name.replace("_", "-"), value) for name, value in metadata.items())

    async def run() -> Seen:
        async with serving(verifier) as channel:
            return await seen_of(channel.unary_unary(f"/{method}")(request, metadata=sent, timeout=10))

    return asyncio.run(run())


async def seen_of(pending: Any) -> Seen:
    answer = None
    try:
        answer = pb.DepositRequest.FromString(await pending)
    except grpc.aio.AioRpcError:
        pass
    status, details = await asyncio.gather(pending.code(), pending.details())
    return Seen(status, details, dict(await pending.trailing_metadata()), answer)


def test_a_good_call_passes() -> None:
    """Its request is decoded, its answer encoded, and nothing is added."""
    assert call("alice") == Seen(grpc.StatusCode.OK, "", {}, pb.DepositRequest(account_id="alice"))


@pytest.mark.parametrize(
    ("account_id", "status", "details"),
    [
        ("malformed", grpc.StatusCode.INVALID_ARGUMENT, "amount is wrong"),
        ("away", grpc.StatusCode.UNAVAILABLE, "the store is away; nothing was done"),
    ],
)
def test_a_foreseen_error_becomes_its_status(account_id: str, status: grpc.StatusCode, details: str) -> None:
    """By the one table."""
    assert call(account_id)[:2] == (status, details)


def test_a_fault_of_ours_shows_an_id_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is in the log, under the same id."""
    with caplog.at_level(logging.ERROR):
        seen = call("fault")
    request_id = seen.trailing["x-request-id"]
    assert seen.status is grpc.StatusCode.INTERNAL
    assert seen.details == f"a fault of ours, request {request_id}"
    [record] = caplog.records
    assert request_id in record.getMessage()
    assert record.exc_info


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["garbage", "bad UTF-8"])
def test_bytes_that_are_no_message_are_an_invalid_argument(raw: bytes) -> None:
    """gRPC by itself answers INTERNAL, as if the fault were ours."""
    assert call(raw=raw).status is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", [f"{SERVICE}/Unwritten", f"{SERVICE}/Unknown", "test.Nobody/Echo"])
def test_a_method_that_nobody_wrote_is_unimplemented(method: str) -> None:
    """Also when the generated code has a stub for it."""
    assert call(method=method).status is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("account_id", ["alice", "malformed", "fault"])
def test_a_callers_request_id_comes_back(account_id: str) -> None:
    """However the call ends."""
    assert call(account_id, x_request_id="req-1").trailing == {"x-request-id": "req-1"}


def test_an_unfit_request_id_is_replaced() -> None:
    """It could forge a line of the log."""
    assert call("alice", x_request_id='"; rm').trailing["x-request-id"] not in ("", '"; rm')


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer nonsense", grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer " + "x" * 8193, grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer " + mint(SETTINGS, "alice"), grpc.StatusCode.PERMISSION_DENIED),
        ("Bearer " + mint(SETTINGS, "olga", ["balance:ops"]), grpc.StatusCode.PERMISSION_DENIED),
        ("Bearer " + mint(SETTINGS, "poker", ["balance:service"]), grpc.StatusCode.OK),
    ],
    ids=["none", "nonsense", "too long", "player", "ops", "service"],
)
def test_where_tokens_are_required_only_services_pass(token: str | None, status: grpc.StatusCode) -> None:
    """Before the request is even decoded."""
    metadata = {} if token is None else {"authorization": token}
    seen = call("alice", verifier=TokenVerifier(SETTINGS), **metadata)
    assert seen.status is status
    if status is not grpc.StatusCode.OK:
        assert call(raw=b"\xff", verifier=TokenVerifier(SETTINGS), **metadata).status is status


def test_other_services_need_no_token() -> None:
    """Health and reflection are for machines that have none."""
    seen = call("alice", method="test.Other/Echo", verifier=TokenVerifier(SETTINGS))
    assert seen.status is grpc.StatusCode.OK


def test_calls_reach_their_handlers_in_the_order_in_which_they_came() -> None:
    """Nothing waits on the way, so the order of one connection is the order of application."""
    arrived: list[int] = []

    async def note(request: pb.DepositRequest, _context: object) -> pb.DepositRequest:
        arrived.append(request.amount)
        return request

    async def run() -> None:
        async with serving(behaviour=note) as channel:
            method = channel.unary_unary(f"/{SERVICE}/Echo", pb.DepositRequest.SerializeToString)
            await asyncio.gather(*(method(pb.DepositRequest(amount=number)) for number in range(500)))

    asyncio.run(run())
    assert arrived == list(range(500))
