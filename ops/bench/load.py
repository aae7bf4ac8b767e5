"""The client of every benchmark: the same calls, counted and timed the same way, whoever answers."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from itertools import count

import grpc

from app.rpc.gen import balance_pb2, balance_pb2_grpc


@dataclass(slots=True, frozen=True)
class Measured:
    """What one run gave: calls per second and latencies in ms."""

    rate: float
    p50: float
    p99: float
    calls: int


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1_000


def measured(latencies: list[float], took: float) -> Measured:
    """The figures of calls that took so long, all together `took` seconds."""
    latencies.sort()
    return Measured(
        len(latencies) / took, _percentile(latencies, 0.5), _percentile(latencies, 0.99), len(latencies)
    )


class _Deposits:
    """Deposits of 1 chip over `accounts` accounts in turn, each under a key of its own."""

    def __init__(self, channel: grpc.aio.Channel, accounts: int) -> None:
        self._deposit = balance_pb2_grpc.BalanceServiceStub(channel).Deposit
        self._run, self._numbers, self._accounts = secrets.token_hex(4), count(), accounts

    async def one(self) -> None:
        number = next(self._numbers)
        request = balance_pb2.DepositRequest(
            account_id=f"bench-{number % self._accounts}",
            amount=1,
            source="bench",
            idempotency_key=f"{self._run}-{number}",
        )
        answer = await self._deposit(request, timeout=10)
        if not answer.ok:
            raise RuntimeError(f"refused: {answer.error}")


async def closed_loop(target: str, *, in_flight: int, accounts: int, seconds: float) -> Measured:
    """`in_flight` callers, each with its next call as soon as the last is answered."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel:
        deposits = _Deposits(channel, accounts)
        until = time.perf_counter() + seconds

        async def caller() -> None:
            while (began := time.perf_counter()) < until:
                await deposits.one()
                latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return measured(latencies, time.perf_counter() - began)


async def open_loop(target: str, *, rate: float, accounts: int, seconds: float) -> Measured:
    """`rate` calls a second whatever the answers do; latency counts from the intended time of sending."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel, asyncio.TaskGroup() as calls:
        deposits = _Deposits(channel, accounts)
        await deposits.one()  # the channel is open before the clock runs
        began = time.perf_counter()

        async def call(intended: float) -> None:
            await deposits.one()
            latencies.append(time.perf_counter() - intended)

        for number in range(int(rate * seconds)):
            intended = began + number / rate
            await asyncio.sleep(max(0.0, intended - time.perf_counter()))
            calls.create_task(call(intended))
    return measured(latencies, time.perf_counter() - began)
