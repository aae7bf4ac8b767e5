"""Both clients and both cashiers under one face, so that one test holds for threads and for asyncio."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from app.client import AsyncBalanceClient, AsyncSeatCashier, BalanceClient, SeatCashier

KINDS = ("sync", "async")


class Awaited:
    """A client or cashier of asyncio, called as if it waited: its coroutines run to their end on a loop."""

    def __init__(self, runner: asyncio.Runner, wrapped: Any) -> None:
        self._runner = runner
        self._wrapped = wrapped

    def within(self, seconds: float) -> Self:
        return type(self)(self._runner, self._wrapped.within(seconds))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            awaited = (_awaited(each) if callable(each) else each for each in args)
            return self._runner.run(getattr(self._wrapped, name)(*awaited, **options))

        return call


def _awaited(callback: Callable[..., Any]) -> Callable[..., Any]:
    async def deed(*args: Any) -> Any:
        return callback(*args)

    return deed


@contextmanager
def client_of(kind: str, target: str, **options: Any) -> Iterator[Any]:
    """A BalanceClient, or an AsyncBalanceClient that is called like one."""
    if kind == "sync":
        with BalanceClient(target, **options) as waiting:
            yield waiting
        return

    async def made() -> AsyncBalanceClient:
        return AsyncBalanceClient(target, **options)

    with asyncio.Runner() as runner:
        client = Awaited(runner, runner.run(made()))
        yield client
        client.close()


def cashier_of(client: Any) -> Any:
    """The cashier of that client."""
    if isinstance(client, Awaited):
        return Awaited(client._runner, AsyncSeatCashier(client._wrapped))
    return SeatCashier(client)
