"""Far more calls than fit: the excess is refused and leaves no trace, the rest is carried out once."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from app.domain.identifiers import derive_id, partition_of
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.crash.processes import Kind, pids
from tests.crash.witness import PARTITIONS, Witness
from tests.support.service import RunningService, balance, running_service

if TYPE_CHECKING:
    from app.rpc.gen.balance_pb2_grpc import BalanceServiceAsyncStub

FIT = 64
CALLS = 10 * FIT
ACCOUNTS = [f"overload-{number}" for number in range(50)]
LONG_SECONDS, SHORT_SECONDS = 20.0, 1.5
MAY_GROW_KIB = 64 * 1024
OK, REFUSED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED
LATE = grpc.StatusCode.DEADLINE_EXCEEDED


class Told(NamedTuple):
    """How a deposit ended for its caller, and the transaction that it is in the books, if it is."""

    status: grpc.StatusCode
    transaction_id: str


@pytest.fixture(scope="module")
def crowded() -> Iterator[RunningService]:
    """A service of one worker, where few may wait."""
    limits = {"MAX_WAITING_COMMANDS": str(FIT), "WORKERS": "1", "PARTITIONS": str(PARTITIONS)}
    with running_service(**limits) as service:
        yield service


@asynccontextmanager
async def connected(service: RunningService) -> "AsyncIterator[tuple[BalanceServiceAsyncStub, Witness]]":
    async with grpc.aio.insecure_channel(service.grpc) as channel, Witness(service.redis_url) as witness:
        yield BalanceServiceStub(channel), witness


async def deposit(stub: "BalanceServiceAsyncStub", account_id: str, key: str, seconds: float) -> Told:
    request = pb.DepositRequest(account_id=account_id, amount=1, source="t", idempotency_key=key)
    try:
        await stub.Deposit(request, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        status = error.code()
    else:
        status = OK
    return Told(status, derive_id(partition_of(account_id, PARTITIONS), "Deposit", account_id, key))


async def rush(stub: "BalanceServiceAsyncStub", name: str) -> list[Told]:
    """Many times what fits, all at once."""
    return await asyncio.gather(
        *(
            deposit(stub, ACCOUNTS[number % len(ACCOUNTS)], f"{name}-{number}", LONG_SECONDS)
            for number in range(CALLS)
        )
    )


async def most_queued(witness: Witness, until: "asyncio.Task[list[Told]]") -> int:
    """The most commands that were ever seen in the queues."""
    most = 0
    while not until.done():
        most = max(most, len(await witness.queued()))
    return most


async def booked(witness: Witness) -> Counter[str]:
    """How often each transaction is in the ledgers."""
    return Counter(entry.transaction_id for ledger in await witness.ledgers(ACCOUNTS) for entry in ledger)


def memory_kib(service: RunningService) -> dict[Kind, int]:
    """What the front end and the worker occupy."""
    found = {}
    for kind in (Kind.FRONT_END, Kind.WORKER):
        (pid,) = pids(service, kind)
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        found[kind] = int(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def test_the_excess_is_refused_and_the_rest_is_applied_once(crowded: RunningService) -> None:
    """Given room for 64. If ten times as many come at once, twice. Expect each to be carried out once or
    refused, a refused one to be in no ledger, and neither the queues nor the memory to grow.
    """

    async def two_rushes() -> tuple[list[Told], int, Counter[str], list[dict[Kind, int]]]:
        async with connected(crowded) as (stub, witness):
            told, most, memory = [], 0, []
            for name in ("first", "second"):
                rushing = asyncio.create_task(rush(stub, name))
                most = max(most, await most_queued(witness, rushing))
                told += await rushing
                memory.append(memory_kib(crowded))
            return told, most, await booked(witness), memory

    told, most, books, (first, second) = asyncio.run(two_rushes())
    assert {each.status for each in told} - {LATE} == {OK, REFUSED}
    assert all(books[each.transaction_id] == 1 for each in told if each.status is OK)
    assert all(books[each.transaction_id] == 0 for each in told if each.status is REFUSED)
    assert all(books[each.transaction_id] <= 1 for each in told)
    assert most <= 2 * FIT, "more was queued than may wait"
    assert all(second[kind] - first[kind] < MAY_GROW_KIB for kind in first)
    assert balance(crowded, "verify", "--json").returncode == 0


def test_nothing_runs_after_its_caller_gave_up(crowded: RunningService) -> None:
    """Given a worker that stands still. If callers give up meanwhile. Expect none of their commands to run
    once it goes on, though all were queued.
    """

    async def give_up() -> tuple[list[Told], int, Told, Counter[str]]:
        (worker,) = pids(crowded, Kind.WORKER)
        async with connected(crowded) as (stub, witness):
            os.kill(worker, signal.SIGSTOP)
            try:
                told = await asyncio.gather(
                    *(deposit(stub, ACCOUNTS[0], f"given-up-{number}", SHORT_SECONDS) for number in range(20))
                )
                # What came in slowly began to count its time later than its caller did.
                await asyncio.sleep(SHORT_SECONDS)
                queued = len(await witness.queued())
            finally:
                os.kill(worker, signal.SIGCONT)
            after = await deposit(stub, ACCOUNTS[0], "after", LONG_SECONDS)
            return told, queued, after, await booked(witness)

    told, queued, after, books = asyncio.run(give_up())
    assert {each.status for each in told} == {LATE}
    assert queued
    assert after.status is OK
    assert books[after.transaction_id] == 1
    assert not any(books[each.transaction_id] for each in told)
