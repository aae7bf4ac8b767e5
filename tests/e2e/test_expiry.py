"""Reservations end by themselves: one by one in a running service, and by the thousand after an outage."""

import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import grpc
import msgspec
import pytest

from app.domain.identifiers import partition_of
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from tests.crash.processes import Kind, pids
from tests.support.grounds import read
from tests.support.holds import messages
from tests.support.service import RunningService, balance, running_service
from tests.support.waiting import eventually

PARTITIONS = 64
CALL_EVERY_SECONDS = 0.01
LOOK_EVERY_SECONDS = 0.2  # seldom: looking must not be what is measured


def test_a_hold_expires_by_itself(service: RunningService) -> None:
    """The record says so, the chips are free, and it cannot be committed any more."""
    account_id = uuid4().hex
    partition = partition_of(account_id, PARTITIONS)
    backend = ValkeyBackend(service.redis_url)
    with grpc.insecure_channel(service.grpc) as channel:
        stub = BalanceServiceStub(channel)
        stub.EnsureAccount(pb.EnsureAccountRequest(account_id=account_id, initial_balance=100), timeout=10)
        asked = pb.ReserveForBuyInRequest(
            account_id=account_id, table_id="t", amount=40, idempotency_key="k", timeout_seconds=1
        )
        held = stub.ReserveForBuyIn(asked, timeout=10)
        assert (held.ok, held.available_balance) == (True, 60)

        def record() -> dict[str, object]:
            found: dict[str, object] = msgspec.json.decode(
                backend.call("GET", keys.reservation(partition, held.reservation_id))
            )
            return found

        eventually(lambda: record()["status"] == "EXPIRED", within_seconds=30)
        assert backend.call("HGET", keys.account(partition, account_id), "reserved") == b"0"
        shown = stub.GetBalance(pb.GetBalanceRequest(account_id=account_id), timeout=10)
        assert (shown.balance, shown.available_balance) == (100, 100)
        late = stub.CommitReservation(
            pb.CommitReservationRequest(reservation_id=held.reservation_id), timeout=10
        )
        assert (late.ok, late.error) == (False, "RESERVATION_EXPIRED")
    backend.close()


@contextmanager
def frozen_scheduler(service: RunningService) -> Iterator[None]:
    """An outage of the scheduler."""
    (pid,) = pids(service, Kind.SCHEDULER)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "holds", [2_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
def test_after_an_outage_all_that_is_due_expires_while_callers_are_served(holds: int) -> None:
    """
    Given a scheduler that was frozen while thousands of holds became due, and a hundred calls a second
    If it thaws
    Expect every hold expired and counted once, every call answered, and the books in order.
    """
    with running_service(PARTITIONS=str(PARTITIONS)) as service:
        backend = ValkeyBackend(service.redis_url)
        with frozen_scheduler(service):
            _make_holds(backend, holds)
        seconds, latencies = asyncio.run(_served_until_all_expired(service, backend))
        counted = _expired(backend)
        backend.close()
        verified = balance(service, "verify", "--json")
    p50, p99 = (statistics.quantiles(latencies, n=100)[part - 1] * 1_000 for part in (50, 99))
    sys.stdout.write(
        f"{holds} holds in {seconds:.1f} s; {len(latencies)} calls: p50 {p50:.1f} ms, p99 {p99:.1f} ms\n"
    )
    assert counted == holds
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _make_holds(backend: ValkeyBackend, holds: int) -> None:
    """Have the workers make them, spread over the partitions, and wait until all are past their time."""
    for partition in range(PARTITIONS):
        share = holds // PARTITIONS + (partition < holds % PARTITIONS)
        backend.append(list(messages(partition, share, PARTITIONS)))
    eventually(lambda: _due(backend) == holds, within_seconds=300)


def _due(backend: ValkeyBackend) -> int:
    """How many holds are past their time and still held."""
    now, _ = backend.read(Plan())
    asked = (("ZCOUNT", keys.reservation_expiry(each), "-inf", now) for each in range(PARTITIONS))
    return sum(read(backend, *asked))


def _wait_until_none_is_due(backend: ValkeyBackend) -> None:
    while _due(backend):
        time.sleep(LOOK_EVERY_SECONDS)


def _expired(backend: ValkeyBackend) -> int:
    """How many were counted as expired."""
    asked = (("HGET", keys.totals(each), "expired") for each in range(PARTITIONS))
    return sum(int(count or 0) for count in read(backend, *asked))


async def _served_until_all_expired(
    service: RunningService, backend: ValkeyBackend
) -> tuple[float, list[float]]:
    """How long it took until nothing was due, and how long each call took meanwhile (seconds)."""
    began, latencies = time.monotonic(), []
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        stub = BalanceServiceStub(channel)

        async def call(number: int) -> None:
            sent = time.monotonic()
            deposit = pb.DepositRequest(
                account_id=f"caller-{number % 97}", amount=1, source="test", idempotency_key=f"k{number}"
            )
            answer = await stub.Deposit(deposit, timeout=10)
            assert answer.ok
            latencies.append(time.monotonic() - sent)

        async def call_steadily() -> None:
            async with asyncio.TaskGroup() as calls:
                while not done.is_set():
                    calls.create_task(call(next(numbers)))
                    await asyncio.sleep(CALL_EVERY_SECONDS)

        done, numbers = asyncio.Event(), count()
        calling = asyncio.create_task(call_steadily())
        await asyncio.to_thread(_wait_until_none_is_due, backend)
        seconds = time.monotonic() - began
        done.set()
        await calling
    return seconds, latencies
