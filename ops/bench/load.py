"""The client of every benchmark: the same calls, counted and timed the same way, whoever answers."""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc

from app.rpc.gen import balance_pb2, balance_pb2_grpc

Accounts = Callable[[int], str]
"""Which account the call of a number is about."""


@dataclass(slots=True, frozen=True)
class Measured:
    """What one run gave: calls per second, latencies in ms, and the client's own CPU in ms a call.

    Only of calls that were answered; `failed` are those that were not, or not in time.
    """

    rate: float
    p50: float
    p99: float
    calls: int
    client_cpu: float
    failed: int


class Stopwatch:
    """Times calls from when it is made. Whoever calls adds to `latencies`, in seconds, or to `failed`."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self._began, self._cpu_before = time.perf_counter(), time.process_time()

    def stop(self) -> Measured:
        """What was measured until now."""
        took, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu_before
        ordered = sorted(self.latencies)
        if not ordered:
            raise RuntimeError("not one call was answered")
        return Measured(
            rate=len(ordered) / took,
            p50=_percentile(ordered, 0.5),
            p99=_percentile(ordered, 0.99),
            calls=len(ordered),
            client_cpu=cpu * 1_000 / len(ordered),
            failed=self.failed,
        )


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1_000


class _Deposits:
    """Deposits of 1 chip, each under a key of its own."""

    def __init__(self, channel: grpc.aio.Channel, accounts: Accounts) -> None:
        self._deposit = balance_pb2_grpc.BalanceServiceStub(channel).Deposit
        self._run, self._numbers, self._accounts = secrets.token_hex(4), count(), accounts

    async def one(self) -> None:
        number = next(self._numbers)
        request = balance_pb2.DepositRequest(
            account_id=self._accounts(number),
            amount=1,
            source="bench",
            idempotency_key=f"{self._run}-{number}",
        )
        answer = await self._deposit(request, timeout=5)
        if not answer.ok:
            raise RuntimeError(f"refused: {answer.error}")

    async def timed(self, watch: Stopwatch, began: float) -> None:
        """One deposit; its latency counts from `began`."""
        try:
            await self.one()
        except grpc.aio.AioRpcError:
            watch.failed += 1
        else:
            watch.latencies.append(time.perf_counter() - began)


def closed_loop(target: str, seconds: float, *, in_flight: int, accounts: Accounts) -> Measured:
    """`in_flight` callers, each with its next call as soon as the last is answered."""

    async def run(deposits: _Deposits) -> Measured:
        watch = Stopwatch()
        until = time.perf_counter() + seconds

        async def caller() -> None:
            while (began := time.perf_counter()) < until:
                await deposits.timed(watch, began)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return watch.stop()

    return asyncio.run(_connected(target, accounts, run))


def open_loop(target: str, seconds: float, *, rate: float, accounts: Accounts) -> Measured:
    """`rate` calls a second whatever the answers do; latency counts from the intended time of sending."""

    async def run(deposits: _Deposits) -> Measured:
        watch = Stopwatch()
        began = time.perf_counter()

        async with asyncio.TaskGroup() as calls:
            for number in range(int(rate * seconds)):
                intended = began + number / rate
                await asyncio.sleep(max(0.0, intended - time.perf_counter()))
                calls.create_task(deposits.timed(watch, intended))
        return watch.stop()

    return asyncio.run(_connected(target, accounts, run))


async def _connected(
    target: str, accounts: Accounts, run: Callable[[_Deposits], Coroutine[Any, Any, Measured]]
) -> Measured:
    async with grpc.aio.insecure_channel(target) as channel:
        deposits = _Deposits(channel, accounts)
        await deposits.one()  # the channel is open before the clock runs
        return await run(deposits)
