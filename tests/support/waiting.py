"""Waiting for what is bound to happen: looked for often, and given up with a failure instead of for ever."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_SECONDS = 0.004


def eventually(look: Callable[[], T | None], within_seconds: float = 5.0) -> T:
    """Return the first truthy thing that `look` finds; fail when there is none in time."""
    deadline = time.monotonic() + within_seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s; the last look found {found!r}"
        time.sleep(LOOK_EVERY_SECONDS)
    return found


async def soon(look: Callable[[], T | None], within_seconds: float = 5.0) -> T:
    """The same beside other tasks of an event loop."""
    deadline = time.monotonic() + within_seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s; the last look found {found!r}"
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return found
