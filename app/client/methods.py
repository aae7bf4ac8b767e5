"""Turns the functions of `calls` into methods of a client, so that no signature stands twice."""

import inspect
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from .calls import Call

P = ParamSpec("P")
Answer = TypeVar("Answer")


class Sends(Protocol):
    """A client that waits for answers."""

    def send(self, call: Call[Answer]) -> Answer:
        """The call's answer."""
        ...


class AsyncSends(Protocol):
    """A client whose answers are awaited."""

    async def send(self, call: Call[Answer]) -> Answer:
        """The call's answer."""
        ...


def method(build: Callable[P, Call[Answer]]) -> Callable[Concatenate[Any, P], Answer]:
    """The method of a client that makes this call and waits."""

    def make(self: Sends, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self.send(build(*args, **kwargs))

    _shown_as(build, make)
    return make


def async_method(
    build: Callable[P, Call[Answer]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Answer]]:
    """The same where it is awaited."""

    async def make(self: AsyncSends, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self.send(build(*args, **kwargs))

    _shown_as(build, make)
    return make


def _shown_as(build: Callable[..., Any], make: Callable[..., Any]) -> None:
    """`help()` and editors are to see the call's own name, text and parameters, and what it answers."""
    update_wrapper(make, build)
    signature = inspect.signature(build)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (answer,) = signature.return_annotation.__args__
    parameters = [itself, *signature.parameters.values()]
    vars(make)["__signature__"] = signature.replace(parameters=parameters, return_annotation=answer)
