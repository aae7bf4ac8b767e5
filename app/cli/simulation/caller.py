"""One call of a player: measured, sent again while the service is away, and judged.

UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED and stale reads are no errors while a repetition ends well:
a key has one outcome, and what has no key answers from the state. The sixth attempt, after 3 s, decides.
"""

import asyncio
import time
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from app.cli.simulation.tally import Tally
from app.rpc.gen import balance_pb2_grpc

OK = "OK"
REPEATED = "REPEATED"
"""Counted in place of OK where the same request was sent before, or is sent at the same time."""

_STALE = "STALE"
_TRANSIENT = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", _STALE})
_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.5)
_TIMEOUT_SECONDS = 5.0


class Unexpected(Exception):
    """Something was not as it must be. What the service holds is not known any more, so the player stops."""


class Caller:
    """Makes the calls of all players, at most `concurrency` at a time."""

    def __init__(self, channel: grpc.aio.Channel, tally: Tally, concurrency: int, token: str | None) -> None:
        self._stub = balance_pb2_grpc.BalanceServiceStub(channel)
        self._tally = tally
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._room = asyncio.Semaphore(concurrency)

    async def call(self, method: str, request: Message, *, expect: str = OK) -> Any:
        """The answer, which must be OK, REPEATED or the code of a refusal; otherwise raises Unexpected."""
        async with self._room:
            began = time.perf_counter()
            answer, outcome = await self._answer(method, request)
            elapsed = time.perf_counter() - began
        if outcome == OK and expect == REPEATED:
            outcome = REPEATED
        self._tally.called(method, outcome, elapsed * 1000)
        if outcome != expect:
            raise Unexpected(f"{method} ended {outcome} instead of {expect}: {_text(request)}")
        return answer

    async def at_once(self, method: str, request: Message, times: int) -> Any:
        """The one answer to a request that is sent several times without waiting."""
        expected = (OK, *(REPEATED,) * (times - 1))
        answers = await asyncio.gather(*(self.call(method, request, expect=each) for each in expected))
        for answer in answers:
            check_equal(f"{method} sent {times} times at once", answer, answers[0])
        return answers[0]

    async def _answer(self, method: str, request: Message) -> tuple[Any, str]:
        for pause in _PAUSES_SECONDS:
            answer, outcome = await self._attempt(method, request)
            if outcome not in _TRANSIENT:
                return answer, outcome
            self._tally.retries += 1
            await asyncio.sleep(pause)
        return await self._attempt(method, request)

    async def _attempt(self, method: str, request: Message) -> tuple[Any, str]:
        """The answer, None where there is none, and its outcome: OK, a refusal's code, or a status."""
        invoke = getattr(self._stub, method)
        try:
            answer = await invoke(request, timeout=_TIMEOUT_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return None, error.code().name
        if getattr(answer, "stale", False):
            return None, _STALE
        return answer, getattr(answer, "error", "") or OK


def check_equal(what: str, found: object, expected: object) -> None:
    """Raise Unexpected unless the service says what it must say."""
    if found != expected:
        raise Unexpected(f"{what}: found {_text(found)}, expected {_text(expected)}")


def _text(value: object) -> str:
    return " ".join(str(value).split())
