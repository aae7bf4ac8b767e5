"""The gRPC server as a whole, in this process, on a real store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from grpc.aio import _server
from grpc_health.v1 import health_pb2, health_pb2_grpc

from app.bootstrap import open_front_end
from app.domain.identifiers import partition_of
from app.rpc import server, servicer
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.services.payouts import DRAFTS_AT_ONCE
from tests.support.carrying import PARTITIONS
from tests.support.ports import free_port
from tests.support.store import RealStore
from tests.support.waiting import soon
from tests.support.workers import a_worker, settings_for, waiting

CALL_SECONDS = 20


@asynccontextmanager
async def serving(store: RealStore, stop: asyncio.Event) -> AsyncIterator[grpc.aio.Channel]:
    """A client's channel to the server, which is told to stop by the event, or as the block ends."""
    settings = replace(settings_for(store), grpc_port=int(free_port()))
    front_end = await open_front_end(settings)
    running = asyncio.create_task(server.serve(settings, front_end, stop))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
            await channel.channel_ready()
            yield channel
            stop.set()
            await running
    finally:
        running.cancel()
        await front_end.close()


def test_no_method_is_registered_by_its_name(real_store: RealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once one is, gRPC may lose a call that comes as the server stops; which it does too rarely to wait for.

    Health is answered all the same.
    """
    registered: list[str] = []
    monkeypatch.setattr(
        _server.Server, "add_registered_method_handlers", lambda _, service, __: registered.append(service)
    )

    async def scenario() -> None:
        async with serving(real_store, asyncio.Event()) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest())

    asyncio.run(scenario())
    assert registered == []


def test_a_stop_waits_for_a_call_in_hand_and_for_nothing_else(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a deposit that waits, since there is no worker, and a stream that never ends
    If the server is told to stop, and a worker comes when the others have been quiet for long
    Expect the deposit to be answered, and the stream not to be waited for.
    """
    monkeypatch.setattr(server, "DRAIN_SECONDS", 600.0)
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.1)
    deposit = pb.DepositRequest(account_id=uuid4().hex, amount=5, idempotency_key="key")
    partition = partition_of(deposit.account_id, PARTITIONS)

    async def scenario() -> pb.DepositResponse:
        stop = asyncio.Event()
        async with serving(real_store, stop) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            call = BalanceServiceStub(channel).Deposit(deposit, timeout=CALL_SECONDS)
            await soon(lambda: waiting(real_store.backend(), partition))
            stop.set()
            await asyncio.wait([asyncio.ensure_future(call)], timeout=5 * server.QUIET_SECONDS)
            with a_worker(real_store):
                answered = await call
        return answered

    assert asyncio.run(asyncio.wait_for(scenario(), 2 * CALL_SECONDS)).new_balance == 5


def test_a_batch_that_stops_coming_gives_its_place_back(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given as many batches as a front end holds, and of each the header and nothing more
    If the time for the next message is over
    Expect each of them told so, and a batch that comes whole to be taken.
    """
    header = pb.SubmitBatchRequest(header=pb.BatchHeader(dry_run=True))
    line = pb.SubmitBatchRequest(items=[pb.PayoutItem(line=1, account_id="anna", amount=1)])

    async def without_end() -> AsyncIterator[pb.SubmitBatchRequest]:
        yield header
        await asyncio.Event().wait()

    async def scenario() -> pb.SubmitBatchResponse:
        async with serving(real_store, asyncio.Event()) as channel:
            stub: Any = BalanceServiceStub(channel)
            monkeypatch.setattr(servicer, "PART_SECONDS", 0.1)
            held = [stub.SubmitBatch(without_end()) for _ in range(DRAFTS_AT_ONCE)]
            assert {await call.code() for call in held} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            details = {await call.details() for call in held}
            assert details == {"no more of the batch for 0.1 s; nothing was done"}
            monkeypatch.setattr(servicer, "PART_SECONDS", 600.0)
            answer: pb.SubmitBatchResponse = await stub.SubmitBatch([header, line])
        return answer

    assert asyncio.run(asyncio.wait_for(scenario(), CALL_SECONDS)).ok
