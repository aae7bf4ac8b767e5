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


async def closed_loop(target: str, *, in_flight: int, accounts: int, seconds: float) -> Measured:
    """Deposits of 1 chip, `in_flight` at a time, over `accounts` accounts in turn."""
    run, numbers, latencies = secrets.token_hex(4), count(), []
    until = time.perf_counter() + seconds
    async with grpc.aio.insecure_channel(target) as channel:
        deposit = balance_pb2_grpc.BalanceServiceStub(channel).Deposit

        async def caller() -> None:
            while time.perf_counter() < until:
                number = next(numbers)
                request = balance_pb2.DepositRequest(
                    account_id=f"bench-{number % accounts}",
                    amount=1,
                    source="bench",
                    idempotency_key=f"{run}-{number}",
                )
                began = time.perf_counter()
                answer = await deposit(request, timeout=10)
                latencies.append(time.perf_counter() - began)
                if not answer.ok:
                    raise RuntimeError(f"refused: {answer.error}")

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        took = time.perf_counter() - began
    latencies.sort()
    return Measured(
        len(latencies) / took, _percentile(latencies, 0.5), _percentile(latencies, 0.99), len(latencies)
    )
