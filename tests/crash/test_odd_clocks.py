"""A worker and a front end with a wrong clock: holds, deadlines and leases go by the clock of the store."""

import asyncio
import secrets
import signal
import sys
from pathlib import Path

import grpc
import pytest

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.crash.witness import PARTITIONS, Witness
from tests.support.deployment import Deployment, deployment
from tests.support.load import ABANDONED, Load, load_on, now_ms
from tests.support.waiting import eventually, soon
from tests.support.workers import WorkerProcess

# In hours: further off than refusals live, and than any hold lasts.
CLOCKS = ["jumping", *(pytest.param(hours, marks=pytest.mark.soak) for hours in ("49", "-49"))]
CALLS = 300


@pytest.mark.parametrize("clock", CLOCKS)
def test_holds_and_deadlines_go_by_the_clock_of_the_store(clock: str, tmp_path: Path) -> None:
    """
    Given no worker and no front end but those with a wrong clock
    Expect a hold to last as long as it was asked for, and a call to be dropped only after its deadline.
    """
    with deployment(tmp_path, PARTITIONS) as service:
        worker = odd_worker(service, clock)
        odd_front_end(service, clock)
        asyncio.run(service.until_serving())
        with grpc.insecure_channel(service.address) as channel:
            hold_and_drop(BalanceServiceStub(channel), worker)
        verified = service.verify()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def hold_and_drop(stub: BalanceServiceStub, worker: WorkerProcess) -> None:
    """Two holds, of which one is over soon; then two deposits, of which one waits for too long."""
    stub.EnsureAccount(pb.EnsureAccountRequest(account_id="anna", initial_balance=100))
    long, short = hold(stub, 60, seconds=3_600), hold(stub, 30, seconds=1)
    eventually(lambda: stub.GetBalance(pb.GetBalanceRequest(account_id="anna")).available_balance == 40)
    too_late = stub.CommitReservation(pb.CommitReservationRequest(reservation_id=short))
    in_time = stub.CommitReservation(pb.CommitReservationRequest(reservation_id=long))
    assert (too_late.error, in_time.error) == ("RESERVATION_EXPIRED", "")

    worker.signal(signal.SIGSTOP)
    worker.wait_until_frozen()
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        stub.Deposit(deposit("dropped"), timeout=0.3)
    certainly_over = now_ms() + 500
    eventually(lambda: now_ms() > certainly_over)
    worker.signal(signal.SIGCONT)
    assert stub.Deposit(deposit("applied")).new_balance == 41


def hold(stub: BalanceServiceStub, amount: int, *, seconds: int) -> str:
    """The id of a new reservation."""
    request = pb.ReserveForBuyInRequest(
        account_id="anna",
        table_id="t",
        amount=amount,
        idempotency_key=f"for {seconds} s",
        timeout_seconds=seconds,
    )
    answer = stub.ReserveForBuyIn(request)
    assert answer.ok
    return answer.reservation_id


def deposit(key: str) -> pb.DepositRequest:
    return pb.DepositRequest(account_id="anna", amount=1, idempotency_key=key)


@pytest.mark.parametrize("clock", CLOCKS)
def test_leases_go_by_the_clock_of_the_store(clock: str, tmp_path: Path) -> None:
    """
    Given load, a worker with a wrong clock and one with a right one
    Expect neither to take a partition from the other, until one dies; and every time on record to be right.
    """
    seed = secrets.randbits(32)
    began_at = now_ms()
    with deployment(tmp_path, PARTITIONS) as service:
        odd_worker(service, clock)
        odd_front_end(service, clock)
        load, times = asyncio.run(_share(service, service.worker(), seed))
        verified = service.verify()
    sys.stdout.write(f"seed {seed}: {len(load.asked)} calls\n")

    assert began_at <= min(times) <= max(times) <= now_ms()
    assert load.checker.problems() == []
    assert {attempt.outcome for attempt in load.failures} <= {ABANDONED}
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _share(service: Deployment, right: WorkerProcess, seed: int) -> tuple[Load, list[int]]:
    """The load, and when each change was made by the ledger, in ms since the epoch."""
    await service.until_serving()
    async with Witness(service.store.url) as witness:
        before = await witness.shared_by(2)
        async with load_on(service.address, seed) as load:
            await soon(lambda: len(load.asked) > CALLS, within_seconds=20)
            after = await witness.shared_by(2)
            right.kill()
            await witness.shared_by(1)
        ledgers = await witness.ledgers({asked.account_id for asked in load.asked})
    assert [(each.owner, each.epoch) for each in after] == [(each.owner, each.epoch) for each in before]
    return load, [entry.timestamp for ledger in ledgers for entry in ledger]


def odd_worker(service: Deployment, clock: str) -> WorkerProcess:
    """A worker with that clock."""
    return service.worker("tests.support.odd_clock", clock, "workers.main")


def odd_front_end(service: Deployment, clock: str) -> WorkerProcess:
    """A front end with that clock."""
    return service.front_end("tests.support.odd_clock", clock, "app.cli", "grpc")
