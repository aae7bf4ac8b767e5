"""Random and damaged calls over HTTP and gRPC: no fault, no word of the inside, no chip moved unasked."""

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

from tests.support.fuzzing import ACCOUNTS, Fuzzer, GrpcCall
from tests.support.service import RunningService, balance, running_service
from tests.support.web import post

SEED = 20_261_122
AT_ONCE = 16
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 0.3  # of a server that waits for the rest of a request that has no rest
START_CHIPS = 1_000_000
FAULTS_IN_GRPC = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
INSIDE = [
    *(b"Traceback", b'File "', b".py", b"object at 0x", b"/tmp/"),
    *(b"valkey", b"redis.", b"127.0.0.1:", b"balance:"),
]
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+) *\r\n", re.IGNORECASE)
TRANSACTION = re.compile(rb'"transactionId":"([^"]+)","type":"[A-Z]+","amount":[0-9]+,"balanceBefore"')


@dataclass
class Told:
    """What the service said: how often which status, and every change that it said it made."""

    statuses: Counter[str] = field(default_factory=Counter)
    transactions: set[str] = field(default_factory=set)
    initial_balances: int = 0
    inside: list[bytes] = field(default_factory=list)

    def look(self, text: bytes, token: str) -> None:
        """Nothing of what is inside may be told."""
        self.inside += [text for each in [*INSIDE, token.encode()] if each in text]


async def ask_over_http(service: RunningService, request: bytes, told: Told) -> None:
    host, port = service.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        writer.write(request)
        wait = ANSWER_SECONDS if is_whole(request) else SILENCE_SECONDS
        async with asyncio.timeout(wait):
            while not is_whole(answer) or answer.startswith(b"HTTP/1.1 100"):
                answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                if not (more := await reader.read(65_536)):
                    break
                answer += more
    except ConnectionError:
        pass  # the server closes upon what is no HTTP, and need not read all of it
    except TimeoutError:
        if is_whole(request):
            raise
    finally:
        writer.close()
    told.statuses[answer[9:12].decode() or "nothing"] += 1
    told.look(answer, service.token)
    if answer.startswith(b"HTTP/1.1 20") and request.startswith(b"POST"):
        told.transactions.update(found.decode() for found in TRANSACTION.findall(answer))
        body = answer.partition(b"\r\n\r\n")[2]
        opened = json.loads(body) if b'"created":true' in body else {"balance": 0}
        told.initial_balances += opened["balance"] > 0


def is_whole(message: bytes) -> bool:
    """Whether the head, and as much of a body as it announces, are there."""
    head, end, body = message.partition(b"\r\n\r\n")
    length = LENGTH.search(head + b"\r\n")
    return bool(end) and len(body) >= (int(length[1]) if length else 0) and b"chunked" not in head.lower()


async def ask_over_grpc(channel: grpc.aio.Channel, call: GrpcCall, told: Told, token: str) -> None:
    try:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call.method)
        raw = await method(call.raw, timeout=ANSWER_SECONDS)
    except grpc.aio.AioRpcError as error:
        told.statuses[error.code().name] += 1
        told.look(str(error.details()).encode(), token)
        return
    answer: Any = call.answer.FromString(raw)
    told.statuses["OK"] += 1
    told.look(raw, token)
    if getattr(answer, "transaction_id", ""):
        told.transactions.add(answer.transaction_id)
    told.initial_balances += bool(getattr(answer, "created", False) and answer.balance)


async def fuzz(service: RunningService, calls: int) -> Told:
    told, fuzzer = Told(), Fuzzer(SEED, service)
    numbers = iter(range(calls))
    async with grpc.aio.insecure_channel(service.grpc) as channel:

        async def caller() -> None:
            for number in numbers:
                if number % 2:
                    await ask_over_http(service, fuzzer.http(), told)
                else:
                    await ask_over_grpc(channel, fuzzer.grpc(), told, service.token)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return told


@pytest.mark.parametrize(
    "calls", [2_000, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]
)
def test_no_call_breaks_anything(calls: int) -> None:
    """Whatever comes in: answers that say nothing of the inside, and a ledger of what they said was done."""
    with running_service(PARTITIONS="4") as service:
        for account_id in ACCOUNTS:
            post(service, f"/api/accounts/{account_id}", {"initialBalance": START_CHIPS}, key=None)
        told = asyncio.run(fuzz(service, calls))
        verified = balance(service, "verify", "--json")
    sys.stdout.write(f"{told.statuses}, {len(told.transactions)} transactions\n")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert told.inside == []
    assert not {status for status in told.statuses if status.startswith("5")} - {"503", "504"}
    assert not {status.name for status in FAULTS_IN_GRPC} & told.statuses.keys()
    made = len(told.transactions) + told.initial_balances + len(ACCOUNTS)
    assert json.loads(verified.stdout)["entries"] == made
    assert len(told.transactions) > calls / 40, "too few calls came through"
