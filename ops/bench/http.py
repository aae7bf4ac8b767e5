"""The client of the HTTP benchmarks: connections stay open, as a gateway's do, each with its next call."""

import asyncio
import secrets
import time
from collections.abc import Callable
from itertools import count

from ops.bench.load import Accounts, Measured, Stopwatch
from ops.bench.servers import Place

_BODY = '{"amount":1,"source":"bench"}'
_OK = b"HTTP/1.1 200 "


def http_deposits(place: Place, seconds: float, *, in_flight: int, accounts: Accounts) -> Measured:
    """Deposits of 1 chip, each under a key of its own."""
    run = secrets.token_hex(4)

    def request(number: int) -> str:
        return (
            f"POST /api/accounts/{accounts(number)}/deposit HTTP/1.1\r\nHost: balance\r\n"
            f"Authorization: Bearer {place.token}\r\nIdempotency-Key: {run}-{number}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}"
        )

    return asyncio.run(_closed_loop(place, seconds, in_flight, request))


def http_balances(place: Place, seconds: float, *, in_flight: int, accounts: Accounts) -> Measured:
    """Reads of balances; the accounts are there when deposits were made on them before."""

    def request(number: int) -> str:
        return (
            f"GET /api/accounts/{accounts(number)}/balance HTTP/1.1\r\nHost: balance\r\n"
            f"Authorization: Bearer {place.token}\r\n\r\n"
        )

    return asyncio.run(_closed_loop(place, seconds, in_flight, request))


async def _closed_loop(
    place: Place, seconds: float, in_flight: int, request: Callable[[int], str]
) -> Measured:
    host, _, port = place.http.rpartition(":")
    numbers, watch = count(), Stopwatch()
    until = time.perf_counter() + seconds

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while (began := time.perf_counter()) < until:
            writer.write(request(next(numbers)).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            if head.startswith(_OK):
                watch.latencies.append(time.perf_counter() - began)
            else:
                watch.failed += 1
        writer.close()

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return watch.stop()
