"""The guard around every gRPC method: statuses for errors, ids for requests, tokens where they are wanted.

It stands before a servicer of the tests' own, which fails in every way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest

from app.config import Settings
from app.domain.validation import Malformed
from app.rpc.gen import balance_pb2 as pb
from app.rpc.guard import CallGuard
from app.rpc.server import options
from app.services.faults import Unavailable
from app.services.key_set import KeySet
from app.services.rate_limit import RateLimits
from app.services.tokens import TokenVerifier, mint
from tests.support.key_servers import signed
from tests.support.tokens import REFUSED, SECRET

SERVICE = pb.DESCRIPTOR.services_by_name["BalanceService"]
SETTINGS = Settings(jwt_hs256_secret="a secret of at least thirty-two bytes")
ERRORS: dict[str, Exception] = {
    "malformed": Malformed("amount", "is wrong"),
    "away": Unavailable("canary"),
    "fault": ZeroDivisionError("canary"),
}


class Inherited:
    async def SettlePot(self, _request: object, _context: object) -> None:  # noqa: N802
        raise AssertionError("a generated stub is never run")


class Echo(Inherited):
    """Answers with the amount it was given, and notes in which order the amounts came."""

    def __init__(self) -> None:
        self.amounts: list[int] = []

    async def Deposit(self, request: pb.DepositRequest, _context: object) -> pb.DepositResponse:  # noqa: N802
        if request.account_id in ERRORS:
            raise ERRORS[request.account_id]
        self.amounts.append(request.amount)
        return pb.DepositResponse(new_balance=request.amount)

    async def Withdraw(self, request: pb.WithdrawRequest, _context: object) -> pb.WithdrawResponse:  # noqa: N802
        self.amounts.append(request.amount)
        return pb.WithdrawResponse(new_balance=request.amount)


@asynccontextmanager
async def serving(servicer: Echo, guard: CallGuard) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(options=list(options(SETTINGS).items()))
    server.add_generic_rpc_handlers((guard.handler(SERVICE, servicer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            yield channel
    finally:
        await server.stop(None)


class Seen(NamedTuple):
    """What a caller sees of a call."""

    status: grpc.StatusCode
    details: str
    trailing: dict[str, Any]
    answer: bytes | None = None


def call(
    account_id: str = "",
    metadata: dict[str, str] | None = None,
    *,
    raw: bytes | None = None,
    method: str = "Deposit",
    verifier: TokenVerifier | None = None,
) -> Seen:
    """Call the method on a server of its own, with `raw` instead of a request if given."""
    request = pb.DepositRequest(account_id=account_id, amount=7).SerializeToString() if raw is None else raw

    async def run() -> Seen:
        async with serving(Echo(), CallGuard(verifier)) as channel:
            invoke: Any = channel.unary_unary(f"/{SERVICE.full_name}/{method}")
            return await seen_of(invoke(request, metadata=tuple((metadata or {}).items()), timeout=10))

    return asyncio.run(run())


async def seen_of(pending: Any) -> Seen:
    answer = None
    with suppress(grpc.aio.AioRpcError):
        answer = await pending
    return Seen(
        await pending.code(), await pending.details(), dict(await pending.trailing_metadata()), answer
    )


def test_a_good_call_passes() -> None:
    """Its request is decoded, its answer encoded, and nothing is added."""
    answer = pb.DepositResponse(new_balance=7).SerializeToString()
    assert call("alice") == Seen(grpc.StatusCode.OK, "", {}, answer)


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


@pytest.mark.parametrize("method", ["SettlePot", "Unknown"])
def test_a_method_that_nobody_wrote_is_unimplemented(method: str) -> None:
    """Also when the generated code has a stub for it."""
    assert call(method=method).status is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("account_id", ["alice", "malformed", "fault"])
def test_a_callers_request_id_comes_back(account_id: str) -> None:
    """However the call ends."""
    assert call(account_id, {"x-request-id": "req-1"}).trailing == {"x-request-id": "req-1"}


def test_an_unfit_request_id_is_replaced() -> None:
    """It could forge a line of the log."""
    assert call("alice", {"x-request-id": '"; rm'}).trailing["x-request-id"] not in ("", '"; rm')


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
    seen = call("alice", metadata, verifier=TokenVerifier(SETTINGS))
    assert seen.status is status
    if status is not grpc.StatusCode.OK:
        assert call("", metadata, raw=b"\xff", verifier=TokenVerifier(SETTINGS)).status is status


def test_every_bad_token_is_none() -> None:
    """Whatever is wrong with it, and though it names the scope that is wanted."""

    async def run() -> dict[str, grpc.StatusCode]:
        guard = CallGuard(TokenVerifier(Settings(jwt_hs256_secret=SECRET)))
        async with serving(Echo(), guard) as channel:
            invoke: Any = channel.unary_unary(f"/{SERVICE.full_name}/Deposit")
            tokens = {why: token() for why, token in REFUSED.items() if token().isascii()}
            return {
                why: (await seen_of(invoke(b"", metadata=(("authorization", f"Bearer {token}"),)))).status
                for why, token in tokens.items()
            }

    found = asyncio.run(run())
    assert found == dict.fromkeys(found, grpc.StatusCode.UNAUTHENTICATED)
    assert len(found) > 15


def test_a_service_that_calls_too_often_is_told_so() -> None:
    """Each token's subject for itself."""
    limited = replace(SETTINGS, service_rate_limit_per_second=1)
    one, other = (
        (("authorization", f"Bearer {mint(SETTINGS, name, ['balance:service'])}"),)
        for name in ("one", "other")
    )

    async def run() -> tuple[list[Seen], Seen]:
        guard = CallGuard(TokenVerifier(SETTINGS), limits=RateLimits(limited, lambda: 0))
        async with serving(Echo(), guard) as channel:
            invoke: Any = channel.unary_unary(f"/{SERVICE.full_name}/Deposit")
            seen = [await seen_of(invoke(b"", metadata=one, timeout=10)) for _ in range(3)]
            return seen, await seen_of(invoke(b"", metadata=other, timeout=10))

    (*passed, refused), another = asyncio.run(run())
    assert [seen.status for seen in (*passed, another)] == [grpc.StatusCode.OK] * 3
    assert refused.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.details == "too many calls; again in 1 s; nothing was done"


def test_calls_that_are_not_allowed_count_too() -> None:
    """Whoever has a token could otherwise knock without end."""
    limited = replace(SETTINGS, rate_limit_per_second=1, rate_limit_burst=3)
    player = (("authorization", f"Bearer {mint(SETTINGS, 'alice')}"),)

    async def run() -> list[grpc.StatusCode]:
        guard = CallGuard(TokenVerifier(SETTINGS), limits=RateLimits(limited, lambda: 0))
        async with serving(Echo(), guard) as channel:
            invoke: Any = channel.unary_unary(f"/{SERVICE.full_name}/Deposit")
            return [(await seen_of(invoke(b"", metadata=player, timeout=10))).status for _ in range(5)]

    denied, exhausted = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED
    assert asyncio.run(run()) == [denied] * 3 + [exhausted] * 2


def test_where_the_key_server_is_away_an_unknown_key_is_no_fault_of_the_caller() -> None:
    """The status says that a repetition may end otherwise."""

    async def away() -> bytes:
        raise OSError

    metadata = {"authorization": f"Bearer {signed({'sub': 'poker'}, 'one')}"}
    seen = call("alice", metadata, verifier=TokenVerifier(Settings(), KeySet(away)))
    assert seen[:2] == (grpc.StatusCode.UNAVAILABLE, "the key server is away; nothing was done")


def test_calls_of_one_connection_do_not_overtake_each_other() -> None:
    """Whatever their methods: a poker service does not wait for the last bet before it settles the pot.

    gRPC itself swaps about one pair in a thousand. Methods registered by name would swap most of them.
    """
    pairs = 200

    async def run() -> list[int]:
        servicer = Echo()
        async with serving(servicer, CallGuard()) as channel:
            deposit: Any = channel.unary_unary(f"/{SERVICE.full_name}/Deposit")
            withdraw: Any = channel.unary_unary(f"/{SERVICE.full_name}/Withdraw")
            calls = []
            for number in range(0, 2 * pairs, 2):
                calls += [
                    deposit(pb.DepositRequest(amount=number).SerializeToString()),
                    withdraw(pb.WithdrawRequest(amount=number + 1).SerializeToString()),
                ]
            await asyncio.gather(*calls)
        return servicer.amounts

    arrived = asyncio.run(run())
    swapped = sum(arrived.index(number) > arrived.index(number + 1) for number in range(0, 2 * pairs, 2))
    assert swapped <= pairs // 20
