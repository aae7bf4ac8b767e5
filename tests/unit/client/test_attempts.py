"""Both clients on the wire: what is sent again, under which key and in whose name."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from grpc import StatusCode

from app.client import (
    AsyncBalanceClient,
    AsyncSeatCashier,
    CallFailed,
    CircuitOpen,
    DeadLettered,
    Join,
    Payout,
    PayoutLine,
    Policy,
    Refused,
    Showdown,
    Transaction,
    Unanswered,
    Winner,
)
from app.client.gen import balance_pb2 as pb
from tests.support.clients import KINDS, cashier_of, client_of
from tests.support.scripted_service import ScriptedService, scripted_service

QUICK = Policy(first_pause_seconds=0.001, longest_pause_seconds=0.002)
AWAY = (StatusCode.UNAVAILABLE, "the store is away; nothing was done")
BUSY = (StatusCode.RESOURCE_EXHAUSTED, "too much is waiting; nothing was done")
SLOW = (StatusCode.DEADLINE_EXCEEDED, "no answer in time")
DONE = pb.DepositResponse(ok=True, transaction_id="t", new_balance=5)


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with scripted_service() as service:
        yield service


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, service: ScriptedService) -> Iterator[Any]:
    with client_of(request.param, service.target, policy=QUICK) as client:
        yield client


def test_what_may_pass_is_sent_again_under_one_key(client: Any, service: ScriptedService) -> None:
    """The key is made once, when the caller gives none."""
    service.answers(AWAY, BUSY, SLOW, DONE)
    assert client.deposit("a", 5) == Transaction("t", 5)
    assert len(service.keys) == 4
    assert len(set(service.keys)) == 1
    assert service.keys[0]


def test_a_callers_key_is_kept(client: Any, service: ScriptedService) -> None:
    """At each attempt."""
    service.answers(AWAY, DONE)
    client.deposit("a", 5, idempotency_key="mine")
    assert service.keys == ["mine", "mine"]


def test_a_batch_is_sent_again_whole(client: Any, service: ScriptedService) -> None:
    """The service knows how much of it it has; the lines may come from anywhere, once."""
    service.answers(AWAY, pb.SubmitBatchResponse(ok=True, batch=pb.Batch(batch_id="b", sent=2)))
    lines = (PayoutLine(account_id, 5) for account_id in ("a", "b"))
    assert client.submit_batch(lines, batch_id="b").sent == 2
    (_, first, _), (_, second, _) = service.asked
    assert first == second
    assert [item.account_id for message in first for item in message.items] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (pb.DepositResponse(error="INVALID_AMOUNT"), Refused),
        ((StatusCode.INTERNAL, "DEAD_LETTERED 007-x"), DeadLettered),
        ((StatusCode.INTERNAL, "a fault of ours, request 1"), CallFailed),
        ((StatusCode.INVALID_ARGUMENT, "amount must be"), CallFailed),
        ((StatusCode.UNIMPLEMENTED, ""), CallFailed),
        ((StatusCode.RESOURCE_EXHAUSTED, "HOLD_LIMIT"), Refused),
        ((StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 8)"), CallFailed),
    ],
)
def test_what_will_not_pass_is_sent_once(
    client: Any, service: ScriptedService, line: Any, expected: type[Exception]
) -> None:
    """Asking again would get the same, or do harm."""
    service.answers(line)
    with pytest.raises(expected):
        client.deposit("a", 5)
    assert len(service.asked) == 1


def test_a_request_beyond_the_limit_is_tried_once(client: Any, service: ScriptedService) -> None:
    """It never leaves the channel, under the status of an overload."""
    with pytest.raises(CallFailed, match="larger than max"):
        client.deposit("a", 5, source="x" * 65_536)
    assert service.asked == []


def test_a_call_under_way_outlives_an_open_circuit(client: Any, service: ScriptedService) -> None:
    """The answer that it gets in the end closes the circuit for all."""
    service.answers(*[AWAY] * QUICK.breaker_failures, DONE, DONE)
    for _ in range(2):
        assert client.deposit("a", 5) == Transaction("t", 5)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_ends_with_its_deadline_and_a_new_one_at_once(kind: str, nowhere: str) -> None:
    """The error names the key to ask again with; the open circuit guards every view of the client."""
    policy = Policy(attempt_seconds=0.1, total_seconds=0.5, breaker_failures=1, breaker_pause_seconds=60)
    with client_of(kind, nowhere, policy=policy) as client:
        with pytest.raises(Unanswered) as unanswered:
            client.deposit("a", 5, idempotency_key="mine")
        assert unanswered.value.idempotency_key == "mine"
        assert isinstance(unanswered.value.__cause__, grpc.RpcError)
        for view in (client, client.within(5)):
            with pytest.raises(CircuitOpen):
                view.deposit("a", 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_asked_for_at_each_attempt(kind: str, service: ScriptedService) -> None:
    """One that is renewed meanwhile is the one that is sent."""
    numbers = count(1)
    service.answers(AWAY, DONE, DONE)
    with client_of(kind, service.target, policy=QUICK, token=lambda: f"token-{next(numbers)}") as client:
        client.deposit("a", 5)
    with client_of(kind, service.target, policy=QUICK, token="fixed") as client:
        client.deposit("a", 5)
    assert [who for *_, who in service.asked] == ["Bearer token-1", "Bearer token-2", "Bearer fixed"]


def test_the_pot_calls_are_spoken(client: Any, service: ScriptedService) -> None:
    """As the contract has them; a service that has no pots yet says UNIMPLEMENTED, once."""
    service.answers(
        pb.RecordContributionResponse(ok=True, total_pot=2, seat_contribution=2),
        pb.SettlePotResponse(error="SETTLEMENT_MISMATCH"),
        pb.CancelPotResponse(ok=True),
        (StatusCode.UNIMPLEMENTED, "Method not found!"),
    )
    assert client.record_contribution("t", "h", 1, "a", 2, contribution_type="BLIND").total_pot == 2
    with pytest.raises(Refused, match="SETTLEMENT_MISMATCH"):
        client.settle_pot("t", "h", [])
    client.cancel_pot("t", "h")
    with pytest.raises(CallFailed, match="UNIMPLEMENTED"):
        client.cancel_pot("t", "h")
    assert [method for method, *_ in service.asked] == [
        "RecordContribution",
        "SettlePot",
        "CancelPot",
        "CancelPot",
    ]


def test_a_showdown_is_settled_on_the_wire(client: Any, service: ScriptedService) -> None:
    """Done again after a crash, it asks for the same and hands the engine the same."""
    paid = pb.SettlementResult(account_id="anna", transaction_id="t", amount=95)
    service.answers(*[pb.SettlePotResponse(ok=True, results=[paid])] * 2)
    showdown = Showdown("t1", "h1", (Winner(3, "anna", 100),))
    stacks: list[Any] = []
    for _ in range(2):
        settled = cashier_of(client).settle_showdown(showdown, stacks.append)
        assert settled.payouts == (Payout("anna", "t", 95, 0),)
    assert stacks == [settled.payouts] * 2
    (_, first, _), (_, second, _) = service.asked
    assert first == second


def test_a_join_that_is_cancelled_counts_as_a_death(service: ScriptedService) -> None:
    """Nothing is undone behind its back: it is done again, or the hold ends by itself."""
    service.answers(pb.ReserveForBuyInResponse(ok=True, reservation_id="007-r"))

    async def join_and_cancel() -> None:
        arrived = asyncio.Event()

        async def take_seat() -> bool:
            arrived.set()
            return await asyncio.Future()

        async with AsyncBalanceClient(service.target) as client:
            cashier = AsyncSeatCashier(client)
            joining = asyncio.create_task(cashier.join_seat(Join("j", "a", "t", 5), take_seat, take_seat))
            await arrived.wait()
            joining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joining

    asyncio.run(join_and_cancel())
    assert [method for method, *_ in service.asked] == ["ReserveForBuyIn"]


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """A key and a certificate that localhost signed for itself, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, made.public_bytes(Encoding.PEM)


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_behind_tls_is_reached(kind: str, certificate: tuple[bytes, bytes]) -> None:
    """With the credentials that trust it, and not without."""
    with scripted_service(grpc.ssl_server_credentials([certificate])) as service:
        service.answers(DONE)
        trusting = grpc.ssl_channel_credentials(certificate[1])
        with client_of(kind, service.target, credentials=trusting) as client:
            assert client.deposit("a", 5) == Transaction("t", 5)
        hasty = Policy(total_seconds=0.5)
        with client_of(kind, service.target, policy=hasty) as client, pytest.raises(Unanswered):
            client.deposit("a", 5)
