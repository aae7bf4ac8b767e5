"""A process whose clock is wrong: by hours, or by other hours each time somebody looks at it.

python -m tests.support.odd_clock HOURS MODULE [ARGUMENT...] runs the module with a clock that is ahead by so
many hours (behind, if negative); with `jumping` in their place it is off by up to two days, and jumps.
"""

import datetime as dt
import runpy
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, tzinfo
from random import Random
from typing import Any, Self

import grpc

HOUR_NS = 3_600 * 10**9
MOST_HOURS = 48

right_ns = time.time_ns


def make_odd(hours: str) -> None:
    """Put another clock in the place of every one that tells the time of day; timers are left alone."""
    rng = Random(hours)

    def wrong_by() -> int:
        if hours == "jumping":
            return rng.randint(-MOST_HOURS, MOST_HOURS) * HOUR_NS
        return int(hours) * HOUR_NS

    def time_ns() -> int:
        return right_ns() + wrong_by()

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 10**9
    dt.datetime = odd_datetime(time_ns)  # type: ignore[misc]
    spare_grpc()


def odd_datetime(time_ns: Callable[[], int]) -> type[datetime]:
    """A `datetime` whose present is that of the clock."""

    class OddDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time_ns() / 10**9, tz)

    return OddDatetime


def spare_grpc() -> None:
    """Have gRPC tell what is left of a deadline by the right clock.

    It is the difference between the clock of its core, which cannot be turned from here, and that of Python;
    on a machine whose clock is wrong both are.
    """
    make_handler = grpc.unary_unary_rpc_method_handler

    def handler(behavior: Callable[[Any, Any], Awaitable[Any]], *args: Any, **options: Any) -> Any:
        async def behave(request: Any, context: Any) -> Any:
            return await behavior(request, RightContext(context))

        return make_handler(behave, *args, **options)

    grpc.unary_unary_rpc_method_handler = handler


class RightContext:
    """The context of a call, but that its deadline is told by the right clock."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def time_remaining(self) -> float | None:
        odd, time.time = time.time, lambda: right_ns() / 10**9
        try:
            remaining: float | None = self._context.time_remaining()
            return remaining
        finally:
            time.time = odd


if __name__ == "__main__":
    hours, *sys.argv = sys.argv[1:]
    make_odd(hours)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
